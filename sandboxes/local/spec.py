"""What a client may ask of a local sandbox, checked: the service takes nothing on trust, not even from its own user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandboxes.errors import InvalidSpec

BASE_ENV = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # One thread: OpenMP's own threads hang after a fork, which is how snapshots are taken.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The allocator of pyarrow starts a thread otherwise, and a process with threads cannot be copied live.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Huge pages make the fork of a large heap about twenty times cheaper.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "PYTHONHASHSEED": "0",
}
MAX_ENV = 64
MAX_LABELS = 16
MAX_GPUS = 64
LEAST_CPU, MOST_CPU = 0.05, 1024


@dataclass(frozen=True, slots=True)
class BoxSpec:
    """Limits and surroundings of one sandbox. Processor time in cores, memory and disk in MiB, times in seconds."""

    tier: str = ""
    cpu: float = 1.0
    memory_mb: int = 2048
    disk_mb: int = 512
    max_processes: int = 64
    lifetime_s: int = 24 * 3600
    idle_s: int = 3600
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    gpu_types: list[str] = field(default_factory=list)
    gpu_count: int = 0
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs that it got; not for clients to say."""

    def fits_pool(self, pooled: BoxSpec) -> bool:
        """Whether a waiting sandbox made for `pooled` serves this one: labels and times can still be set, no more."""
        return (
            self.tier in ("", pooled.tier)
            and self.cpu == pooled.cpu
            and self.memory_mb == pooled.memory_mb
            and self.disk_mb == pooled.disk_mb
            and self.max_processes == pooled.max_processes
            and not self.env
            and not self.gpu_count
        )


RANGES = {
    "memory_mb": (64, 1024 * 1024),
    "disk_mb": (1, 1024 * 1024),
    "max_processes": (4, 4096),
    "lifetime_s": (1, 30 * 24 * 3600),
    "idle_s": (1, 30 * 24 * 3600),
    "gpu_count": (0, MAX_GPUS),
}


def parse_spec(value: Any) -> BoxSpec:
    """Raises `InvalidSpec` that names the field."""
    if not isinstance(value, dict):
        raise InvalidSpec("the spec must be an object")
    unknown = set(value) - (set(BoxSpec.__dataclass_fields__) - {"gpus"})
    if unknown:
        raise InvalidSpec(f"unknown fields in the spec: {', '.join(sorted(unknown))}")
    for name, (low, high) in RANGES.items():
        number = value.get(name, low)
        if type(number) is not int or not low <= number <= high:
            raise InvalidSpec(f"{name} must be a whole number from {low} to {high}, not {number!r}")
    cpu = value.get("cpu", 1.0)
    if isinstance(cpu, bool) or not isinstance(cpu, int | float) or not LEAST_CPU <= cpu <= MOST_CPU:
        raise InvalidSpec(f"cpu must be a number of cores from {LEAST_CPU} to {MOST_CPU}, not {cpu!r}")
    for name, limit in (("env", MAX_ENV), ("labels", MAX_LABELS)):
        _check_texts(name, value.get(name, {}), limit)
    types = value.get("gpu_types", [])
    if not isinstance(types, list) or len(types) > MAX_GPUS or not all(isinstance(name, str) for name in types):
        raise InvalidSpec("gpu_types must be a list of names")
    if not isinstance(value.get("tier", ""), str):
        raise InvalidSpec("tier must be text")
    return BoxSpec(**value)


def _check_texts(name: str, value: Any, limit: int) -> None:
    if not isinstance(value, dict) or len(value) > limit:
        raise InvalidSpec(f"{name} must be an object of at most {limit} texts")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str) or "\0" in key + text or not key or "=" in key:
            raise InvalidSpec(f"{name} holds something that is not a name with a text")
        if len(text) > 4096:
            raise InvalidSpec(f"{name}.{key} is longer than 4096 characters")
