from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runs.bench.suites.sandbox import service
from sandboxes.contract import Spec
from tests.wire.rig import Rig


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with service(pool=0) as started:
        yield Rig(started.provider, spec=Spec(memory_mb=512, disk_mb=64, lifetime_s=600, idle_s=300))
