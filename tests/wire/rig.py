"""A provider set up for tests: the real adapter and the vendor's real client, with a server of ours behind the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from sandboxes import aio
from sandboxes.contract import GpuRequest, Provider, Spec
from tests.wire.engine import Engine
from tests.wire.faults import Faults

NAMES = (
    "local",
    "direct",
    "direct_text",
    "modal",
    "e2b",
    "daytona",
    "northflank",
    "blaxel",
    "runloop",
    "cloudflare",
    "cloudflare_worker",
)
"""Every adapter that the conformance suite runs over; those without a package of their own here are still to come."""


@dataclass
class Rig:
    """`engine` and `faults` are None where there is no wire. `spec`: the smallest that the vendor takes."""

    provider: Provider
    engine: Engine | None = None
    faults: Faults | None = None
    spec: Spec = field(default_factory=lambda: Spec(memory_mb=512, lifetime_s=600, idle_s=300))
    with_wrong_key: Callable[[], Provider] | None = None
    answers_fail: bool = True
    """Do the switches reach the vendor's answers? Without a wire only those of streams do."""
    secret: str = ""
    """The key that the provider was given: it must turn up nowhere else."""
    unknown_gpu: GpuRequest = field(default_factory=lambda: GpuRequest(("NO-SUCH-GPU",)))

    def can(self, capability: str) -> bool:
        found = self.provider.capabilities().get(capability)
        return bool(found and found.value)


def available() -> list[str]:
    return [name for name in NAMES if _has_rig(name)]


def _has_rig(name: str) -> bool:
    return (Path(__file__).parent / name / "rig.py").exists()


@contextmanager
def open_rig(name: str, folder: Path) -> Iterator[Rig]:
    opened: AbstractContextManager[Rig] = import_module(f"tests.wire.{name}.rig").open_rig(folder)
    with opened as rig:
        try:
            yield rig
        finally:
            aio.run(rig.provider.close(), timeout_s=10)
            if rig.engine is not None:
                rig.engine.close()
