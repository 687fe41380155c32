"""Taking the snapshots of one node: asked for at the end of a step, written down while the next one is under way.

The runner sends `snapshot_taken`, then parts with new contents, then `snapshot_done` with the manifest. Parts are stored
by threads; a frame is acknowledged only when its contents are stored and the commit that notes them is done, so a worker
that dies loses nothing: the runner sends the rest to the next one. The row is written when everything is stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from runs.blobs import BlobStore, Stored
from runs.events.types import Event, Log, SnapshotFailed, SnapshotTaken
from runs.models import Node
from runs.services.nodebox import NodeBox
from runs.services.snapshots.checking import NotOurs, check_contents
from runs.services.snapshots.recording import Complete, copy_row, write_row
from runs.services.snapshots.storing import store_part
from runs.services.transaction import SessionTransaction
from runs.text import scrub
from sandboxes.errors import SandboxError
from sandboxes.frames import LiveDropped, RunnerError, SnapshotDone, SnapshotPart
from sandboxes.frames import SnapshotTaken as TakenFrame
from sandboxes.manifest import MAX_MANIFEST_BYTES, ManifestError, decode_manifest

logger = logging.getLogger(__name__)

SnapshotFrame = TakenFrame | SnapshotPart | SnapshotDone | LiveDropped
ID_PREFIX = "step-"


class PartStored:
    """A signal: a part of a snapshot was stored, or could not be."""


@dataclass(slots=True)
class _Part:
    seq: int
    id: str
    future: Future[list[Stored]]


@dataclass(slots=True)
class _Wanted:
    """A snapshot that was asked for and is not on record."""

    step: int
    asked_at: float
    stored: list[Stored] = field(default_factory=list)
    done: SnapshotDone | None = None


class SnapshotTaker:
    """The snapshots of one node in this worker. `signal` is called from other threads when there is something to record."""

    def __init__(self, node: Node, box: NodeBox, store: BlobStore, signal: Callable[[PartStored], None]) -> None:
        self._node = node
        self._box = box
        self._store = store
        self._signal = signal
        self._wanted: dict[str, _Wanted] = {}
        self._parts: list[_Part] = []
        self._stored: list[Stored] = []
        self._complete: list[Complete] = []
        self._copies: list[int] = []
        self._events: list[Event] = []

    @property
    def unfinished(self) -> bool:
        """Is a snapshot on its way?"""
        return bool(self._wanted or self._parts)

    @property
    def has_news(self) -> bool:
        return bool(self._complete or self._events or self._stored or self._copies)

    def take(self, step: int) -> None:
        """At the end of a step, before its commit: save the state, or note that it is the one of the step before."""
        if self._box.link is None:
            self._copies.append(step)
            return
        id = f"{ID_PREFIX}{step}"
        self._wanted[id] = _Wanted(step, time.monotonic())
        self._box.link.snapshot(id)

    def leave_out(self, step: int, reason: str) -> None:
        """There is no snapshot of this step."""
        self._fail(step, reason)

    def refused(self, frame: RunnerError) -> None:
        """The runner could not carry a request out; one of ours, perhaps."""
        wanted = self._wanted.pop(frame.id, None)
        if wanted is not None:
            self._fail(wanted.step, f"the sandbox refused: {frame.message}")

    def take_frame(self, frame: SnapshotFrame) -> None:
        match frame:
            case SnapshotPart():
                self._take_part(frame)
            case SnapshotDone():
                self._want(frame.id).done = frame
                self._settle()
            case LiveDropped():
                logger.debug("parked copies dropped: %s", len(frame.ids))
            case TakenFrame():
                self._want(frame.id)

    def stored(self) -> None:
        """A part was stored: see what is complete now."""
        self._settle()

    def lose(self, reason: str) -> None:
        """The sandbox is gone: what was not complete is lost with it."""
        for wanted in self._wanted.values():
            self._fail(wanted.step, reason)
        self._wanted.clear()
        self._parts.clear()

    def give_up(self, reason: str) -> None:
        self.lose(reason)

    def safe_seq(self, seen_seq: int) -> int:
        """The newest frame that may be acknowledged: nothing behind a part that is still being stored."""
        return min([seen_seq, *(part.seq - 1 for part in self._parts)])

    def commit(self, changes: SessionTransaction) -> None:
        """Inside the transaction: the rows of what is complete, the uses of what is stored. Once."""
        for stored in self._stored:
            changes.keep(stored)
        for complete in self._complete:
            changes.emit(write_row(changes, self._node, complete))
        for step in self._copies:
            event = copy_row(changes, self._node, step)
            if event is not None:
                changes.emit(event)
        changes.emit(*self._events)
        # A transaction that fails ends this worker's hold on the node, and the runner sends the frames again.
        self._stored, self._complete, self._copies, self._events = [], [], [], []

    # Frames ---------------------------------------------------------------------------------------------------------

    def _want(self, id: str) -> _Wanted:
        """A snapshot that another worker asked for is ours now."""
        if id not in self._wanted:
            number = id.removeprefix(ID_PREFIX)
            self._wanted[id] = _Wanted(int(number) if number.isdigit() else 0, time.monotonic())
        return self._wanted[id]

    def _take_part(self, frame: SnapshotPart) -> None:
        self._want(frame.id)
        future = store_part(self._box.sandbox, frame, self._store)
        self._parts.append(_Part(frame.seq, frame.id, future))
        future.add_done_callback(lambda _: self._signal(PartStored()))

    def _settle(self) -> None:
        for part in [part for part in self._parts if part.future.done()]:
            self._parts.remove(part)
            wanted = self._wanted.get(part.id)
            try:
                stored = part.future.result()
            except (SandboxError, OSError) as error:
                if wanted is not None:
                    self._fail(wanted.step, f"its contents could not be stored: {error}")
                    del self._wanted[part.id]
                continue
            self._stored += stored
            if wanted is not None:
                wanted.stored += stored
        for id, wanted in list(self._wanted.items()):
            if wanted.done is not None and not any(part.id == id for part in self._parts):
                del self._wanted[id]
                self._finish(wanted, wanted.done)

    def _finish(self, wanted: _Wanted, done: SnapshotDone) -> None:
        if done.manifest is None:
            self._fail(wanted.step, done.error or "the sandbox gave no reason")
            return
        try:
            assert self._box.link is not None
            text = self._box.link.read_payload(done.manifest, MAX_MANIFEST_BYTES)
            manifest = decode_manifest(text)
            check_contents(
                manifest, self._node, self._store, {stored.sha256 for stored in (*self._stored, *wanted.stored)}
            )
        except (ManifestError, NotOurs, SandboxError) as error:
            self._fail(wanted.step, str(error))
            return
        stored = self._store.put(text.encode())
        self._complete.append(Complete(wanted.step, manifest, stored, wanted.stored))

    def _fail(self, step: int, reason: str) -> None:
        self._events.append(SnapshotFailed(node=self._node.number, step=step, reason=scrub(reason)[:500]))

    def note(self, message: str, step: int) -> None:
        self._events.append(Log(level="warning", message=message[:500], node=self._node.number, step=step))


__all__ = ["PartStored", "SnapshotFrame", "SnapshotTaken", "SnapshotTaker"]
