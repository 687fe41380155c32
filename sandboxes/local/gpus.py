"""NVIDIA GPUs of this machine, for local sandboxes: which there are, and who has which.

A GPU is given to one sandbox at a time: its memory cannot be divided, and what is left in it must not be read by the
next one's neighbour. Read from the driver's own files (`/proc/driver/nvidia/gpus/*/information`), without any library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.errors import CapacityUnavailable, InvalidSpec

DEVICES, DRIVER = Path("/dev"), Path("/proc/driver/nvidia/gpus")
COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
"""Devices that every user of a GPU needs beside the GPU's own."""
_TYPE = re.compile(r"\b(GH200|B300|B200|H200|H100|H20|A100|A800|L40S|L40|L4|A10G|A10|A40|A30|A2|V100|P100|T4)\b")
_RTX = re.compile(r"\bRTX (?:PRO )?A?(\d{4})\b")
_MEMORY = re.compile(r"\b(\d+) ?GB\b")


@dataclass(frozen=True, slots=True)
class Gpu:
    """`number`: of its device, `/dev/nvidia<number>`. `names`: what it may be asked for by, the most exact first."""

    number: int
    names: tuple[str, ...]

    def is_one_of(self, types: Iterable[str]) -> bool:
        return any(name in self.names for name in types)


def found(devices: Path = DEVICES, driver: Path = DRIVER) -> list[Gpu]:
    """Those whose device is there, by number."""
    gpus = []
    for path in sorted(driver.glob("*/information")):
        facts = dict(line.partition(":")[::2] for line in path.read_text().splitlines())
        number = facts.get("Device Minor", "").strip()
        if number.isdigit() and (devices / f"nvidia{number}").exists():
            gpus.append(Gpu(int(number), names_of(facts.get("Model", "").strip())))
    return sorted(gpus, key=lambda gpu: gpu.number)


def names_of(model: str) -> tuple[str, ...]:
    """The provider-neutral names of what the driver calls `NVIDIA A100-SXM4-80GB`: `A100-80GB`, `A100`."""
    plain = _TYPE.search(model)
    if plain is None:
        series = _RTX.search(model)
        short = model.removeprefix("NVIDIA ").removeprefix("Tesla ").strip().replace(" ", "-")
        return (f"RTX-PRO-{series[1]}" if series and "PRO" in model else short,)
    memory = _MEMORY.search(model)
    return (f"{plain[1]}-{memory[1]}GB", plain[1]) if memory else (plain[1],)


def choose(gpus: Sequence[Gpu], types: Sequence[str], count: int, busy: Iterable[int] = ()) -> list[Gpu]:
    """`count` GPUs of one type, the first of `types` that has so many. Raises `InvalidSpec` when this machine never has
    them, `CapacityUnavailable` when other sandboxes do."""
    taken = set(busy)
    enough = False
    for name in types:
        those = [gpu for gpu in gpus if gpu.is_one_of((name,))]
        enough = enough or len(those) >= count
        free = [gpu for gpu in those if gpu.number not in taken]
        if len(free) >= count:
            return free[:count]
    if enough:
        raise CapacityUnavailable(f"the GPUs of this machine ({', '.join(types)}) are in use by other sandboxes")
    if not gpus:
        raise InvalidSpec("this machine has no NVIDIA GPU that sandboxes could use")
    has = ", ".join(gpu.names[0] for gpu in gpus)
    raise InvalidSpec(f"this machine has no {count} NVIDIA GPU of type {' or '.join(types)}; it has: {has}")


class Gpus:
    """Who has which."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = list(gpus)
        self._held: dict[str, list[Gpu]] = {}

    def take(self, box: str, types: Sequence[str], count: int) -> tuple[int, ...]:
        """Numbers of the devices for `box`. Raises like `choose`."""
        busy = [gpu.number for held in self._held.values() for gpu in held]
        self._held[box] = choose(self._gpus, types, count, busy)
        return tuple(gpu.number for gpu in self._held[box])

    def give_back(self, box: str) -> None:
        self._held.pop(box, None)


def device_words(numbers: Iterable[int], devices: Path = DEVICES) -> list[str]:
    """Words of bubblewrap that show these devices, and no other GPU, to a sandbox."""
    words: list[str] = []
    numbers = list(numbers)
    if not numbers:
        return words
    for name in [*(f"nvidia{number}" for number in numbers), *COMMON]:
        if (devices / name).exists():
            words += ["--dev-bind", str(devices / name), f"/dev/{name}"]
    return words
