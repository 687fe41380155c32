"""The runner's snapshots, timed like a vendor's own: for this machine, whose provider takes none itself.

They hold variables and files and are written into a folder. A restore is a new sandbox with its runner, brought to the
state; a fork into ten is ten of those at once.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rlmweb.bench.seven_operations import FORKS, Timings
from rlmweb.bench.snapshot_box import SnapshotBox
from runs.bench.suites.sandbox import Service
from runs.blobs import BlobStore
from sandboxes.catalogue import measuring
from sandboxes.catalogue.measuring import Operation

CELL = "numbers = list(range(100_000))\nopen('notes.txt', 'w').write('x' * 100_000)"


def measure_portable(started: Service, store: BlobStore, timings: Timings, rounds: int) -> None:
    """Raises `CannotMeasure`, `SandboxError`."""
    with tempfile.NamedTemporaryFile(prefix="rlmweb-context-") as file:
        context = Path(file.name)
        for _ in range(rounds):
            _round(started, store, timings, context)


def _round(started: Service, store: BlobStore, timings: Timings, context: Path) -> None:
    boxes: list[SnapshotBox] = []

    def opened() -> SnapshotBox:
        box = SnapshotBox(started.create(), store)
        boxes.append(box)
        box.set_up(context, hashlib.sha256(b"").hexdigest())
        return box

    def restored(manifest: str) -> None:
        opened().restore(manifest, eager=True)

    def keep(operation: str, began: float) -> None:
        ms = (time.perf_counter() - began) * 1000
        timings.ms[operation].append(ms)
        measuring.keep(timings.provider, operation, ms, source=timings.source)

    try:
        box = opened()
        box.run(CELL)
        began = time.perf_counter()
        manifest = box.snapshot().manifest
        keep(Operation.SNAPSHOT, began)
        began = time.perf_counter()
        restored(manifest)
        keep(Operation.RESTORE, began)
        began = time.perf_counter()
        with ThreadPoolExecutor(FORKS) as pool:
            list(pool.map(restored, [manifest] * FORKS))
        keep(Operation.FORK_10, began)
    finally:
        for box in boxes:
            box.close()
