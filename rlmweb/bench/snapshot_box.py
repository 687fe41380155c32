"""Sandboxes that the snapshot benchmark drives by itself: cells, snapshots into a store of their own, restores."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from runs.bench.suite import CannotMeasure
from runs.bench.suites.sandbox import Service, service
from runs.blobs import BlobStore
from sandboxes import aio
from sandboxes.contract import INPUT_PREFIX, Sandbox, Spec
from sandboxes.errors import SandboxError
from sandboxes.frames import (
    BlobEntry,
    ContextFile,
    Finished,
    Need,
    Restored,
    RunnerError,
    RunnerFrame,
    Setup,
    SetupDone,
    SnapshotDone,
    SnapshotPart,
    SnapshotTaken,
    State,
)
from sandboxes.link import RunnerLink
from sandboxes.manifest import MAX_MANIFEST_BYTES

DEADLINE_S = 120.0
MIB = 1024 * 1024
FrameT = TypeVar("FrameT")


@dataclass(slots=True)
class Taken:
    """One snapshot. `blocked_ms`: from asking for it to the moment at which the next cell may run."""

    id: str
    blocked_ms: float
    in_sandbox_ms: float
    written_ms: float = 0.0
    stored_bytes: int = 0
    manifest: str = ""
    live: bool = False
    reason: str = ""
    blobs: set[str] = field(default_factory=set)


class SnapshotBox:
    """One sandbox with its runner; contents go to and come from `store`."""

    def __init__(self, sandbox: Sandbox, store: BlobStore) -> None:
        self.sandbox = sandbox
        self.store = store
        self._frames: queue.Queue[RunnerFrame | SandboxError] = queue.Queue()
        self.link = RunnerLink(sandbox, self._frames.put, self._frames.put)
        self.link.attach(0)
        self._cells = 0

    def set_up(self, context: Path, sha256: str) -> None:
        path = f"{INPUT_PREFIX}context-0.txt"
        aio.run(self.sandbox.put_file(path, str(context)), timeout_s=DEADLINE_S)
        self.link.setup(Setup(id="setup", contexts=[ContextFile(path, "text", sha256)], snapshots=True))
        done = self._wait(SetupDone)
        if done.error is not None:
            raise CannotMeasure(f"setup failed: {done.error.message}")

    def run(self, code: str) -> Finished:
        """Raises `CannotMeasure` when the cell fails."""
        self._cells += 1
        self.link.execute(f"cell-{self._cells}", code)
        finished = self._wait(Finished)
        if finished.status != "ok":
            message = finished.error.message if finished.error else finished.status
            raise CannotMeasure(f"the cell {code.splitlines()[0]!r} failed: {message}")
        return finished

    def snapshot(self, *, live: bool = True, durable: bool = True) -> Taken:
        """Take a snapshot and wait until it is stored."""
        id = f"s-{uuid4().hex[:8]}"
        asked = time.perf_counter()
        self.link.snapshot(id, live=live, durable=durable)
        frame = self._wait(SnapshotTaken)
        taken = Taken(id, (time.perf_counter() - asked) * 1000, frame.blocked_ms, live=frame.live, reason=frame.reason)
        while durable:
            part = self._next()
            if isinstance(part, SnapshotPart):
                taken.stored_bytes += self._store(part, taken)
            elif isinstance(part, SnapshotDone):
                if part.manifest is None:
                    raise CannotMeasure(f"the snapshot failed: {part.error}")
                taken.manifest = self.link.read_payload(part.manifest, MAX_MANIFEST_BYTES)
                taken.stored_bytes += self.store.put(taken.manifest.encode()).stored_bytes
                taken.written_ms = part.duration_ms
                self.link.ack(part.seq)
                break
            self.link.ack(getattr(part, "seq", 0))
        return taken

    def restore(self, manifest: str, *, eager: bool) -> None:
        self.link.restore("restore", manifest, eager=eager)
        done = self._wait(Restored)
        if done.error is not None:
            raise CannotMeasure(f"the restore failed: {done.error.type}: {done.error.message}")

    def close(self) -> None:
        self.link.close()
        aio.run(self.sandbox.terminate())

    def _store(self, part: SnapshotPart, taken: Taken) -> int:
        data = part.data
        if part.file:
            with tempfile.NamedTemporaryFile(prefix="rlmweb-part-") as file:
                aio.run(self.sandbox.get_file(part.file, file.name, max_bytes=256 * MIB), timeout_s=DEADLINE_S)
                data = Path(file.name).read_bytes()
        stored = start = 0
        for blob in part.blobs:
            stored += self.store.put(data[start : start + blob.size_bytes]).stored_bytes
            start += blob.size_bytes
            taken.blobs.add(blob.sha256)
        return stored

    def _supply(self, need: Need) -> None:
        entries = []
        with tempfile.NamedTemporaryFile(prefix="rlmweb-pack-") as pack:
            for sha256 in need.blobs:
                data = self.store.get(sha256)
                pack.write(data)
                entries.append(BlobEntry(sha256, len(data)))
            pack.flush()
            self.link.supply(need.id, pack.name, entries)

    def _next(self) -> RunnerFrame:
        try:
            frame = self._frames.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise CannotMeasure("the sandbox does not answer") from None
        if isinstance(frame, SandboxError):
            raise frame
        if isinstance(frame, RunnerError):
            raise CannotMeasure(f"the sandbox refused: {frame.message}")
        return frame

    def _wait(self, kind: type[FrameT]) -> FrameT:
        while True:
            frame = self._next()
            if isinstance(frame, Need):
                self._supply(frame)
            if not isinstance(frame, State):
                self.link.ack(frame.seq)
            if isinstance(frame, kind):
                return frame


@contextmanager
def snapshot_service() -> Iterator[Service]:
    """A service whose sandboxes see the packages of this environment: the workload uses pandas."""
    before = os.environ.get("RLMWEB_SANDBOX_PYTHON")
    os.environ["RLMWEB_SANDBOX_PYTHON"] = sys.executable
    try:
        with service(pool=1) as started:
            yield started
    finally:
        if before is None:
            del os.environ["RLMWEB_SANDBOX_PYTHON"]
        else:
            os.environ["RLMWEB_SANDBOX_PYTHON"] = before


def open_box(started: Service, store: BlobStore, *, memory_mb: int = 2048) -> SnapshotBox:
    """A sandbox; out of the pool when it has the pool's memory."""
    spec = Spec(memory_mb=memory_mb)
    return SnapshotBox(aio.run(started.provider.create(spec, idempotency_key="")), store)
