"""What the cases share: a sandbox, its host, waiting for frames."""

from __future__ import annotations

import queue
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sandboxes import aio
from sandboxes.contract import Sandbox, Spec
from sandboxes.errors import SandboxError
from sandboxes.frames import (
    BlobEntry,
    Finished,
    Need,
    Output,
    Restored,
    RunnerFrame,
    Setup,
    SetupDone,
    SnapshotDone,
    SnapshotPart,
    SubCall,
)
from sandboxes.link import RunnerLink
from tests.wire.rig import Rig

TIMEOUT_S = 60
FrameT = TypeVar("FrameT")


def key() -> str:
    return f"key-{uuid4().hex[:12]}"


def create(rig: Rig, **changes: Any) -> Sandbox:
    spec: Spec = replace(rig.spec, **changes)
    return aio.run(rig.provider.create(spec, idempotency_key=key()), timeout_s=TIMEOUT_S)


class Host:
    """The host of one runner; `contents` are what its snapshots brought."""

    def __init__(self, sandbox: Sandbox, after_seq: int = 0) -> None:
        self.sandbox = sandbox
        self.frames: queue.Queue[RunnerFrame | SandboxError] = queue.Queue()
        self.link = RunnerLink(sandbox, self.frames.put, self.frames.put)
        self.state = self.link.attach(after_seq, timeout_s=TIMEOUT_S)
        self.contents: dict[str, bytes] = {}
        self._count = 0

    def close(self) -> None:
        self.link.close()

    def next(self) -> RunnerFrame:
        frame = self.frames.get(timeout=TIMEOUT_S)
        if isinstance(frame, SandboxError):
            raise frame
        if isinstance(frame, SnapshotPart):
            self._keep(frame)
        if isinstance(frame, Need):
            self._supply(frame)
        return frame

    def wait(self, kind: type[FrameT]) -> FrameT:
        while True:
            frame = self.next()
            if isinstance(frame, kind):
                return frame

    def set_up(self) -> Host:
        self.link.setup(Setup(id="setup"))
        done = self.wait(SetupDone)
        assert done.error is None, done.error
        return self

    def start(self, code: str) -> str:
        self._count += 1
        id = f"cell-{self._count}-{uuid4().hex[:4]}"
        self.link.execute(id, code)
        return id

    def finish(self, id: str, replies: dict[str, str] | None = None) -> str:
        """What the cell printed. `replies` answers its sub-calls by prompt."""
        text = ""
        while True:
            frame = self.next()
            if isinstance(frame, Output) and frame.cell == id:
                text += frame.text
            if isinstance(frame, SubCall):
                for index, prompt in enumerate(frame.prompts):
                    self.link.answer(frame.call, index, text=(replies or {})[prompt.text or ""])
            if isinstance(frame, Finished) and frame.cell == id:
                assert frame.status == "ok", frame.error
                return text

    def run(self, code: str, replies: dict[str, str] | None = None) -> str:
        return self.finish(self.start(code), replies)

    def snapshot(self) -> str:
        """A portable one: the text of its manifest."""
        self.link.snapshot(f"s-{uuid4().hex[:8]}")
        while True:
            frame = self.next()
            if isinstance(frame, SnapshotDone):
                assert frame.manifest is not None, frame.error
                return self.link.read_payload(frame.manifest, 1 << 24)

    def restore(self, manifest: str) -> None:
        self.link.restore("restore", manifest)
        done = self.wait(Restored)
        assert done.error is None, done.error

    def _keep(self, part: SnapshotPart) -> None:
        data = part.data
        if part.file:
            data = aio.run(self.sandbox.read_file(part.file, max_bytes=1 << 26), timeout_s=TIMEOUT_S)
        for entry in part.blobs:
            self.contents[entry.sha256], data = data[: entry.size_bytes], data[entry.size_bytes :]
        self.link.ack(part.seq)

    def _supply(self, need: Need) -> None:
        found = [(sha256, self.contents[sha256]) for sha256 in need.blobs if sha256 in self.contents]
        pack = Path(f"/tmp/pack-{uuid4().hex}")
        pack.write_bytes(b"".join(data for _, data in found))
        try:
            self.link.supply(need.id, str(pack), [BlobEntry(sha256, len(data)) for sha256, data in found])
        finally:
            pack.unlink()


def host_of(sandbox: Sandbox) -> Host:
    return Host(sandbox).set_up()
