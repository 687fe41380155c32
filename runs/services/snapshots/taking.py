"""Taking the snapshots of one node: asked for at the end of a step, written down while the next one is under way.

The runner sends `snapshot_taken`, then parts with new contents, then `snapshot_done` with the manifest. Parts are stored
by threads; a frame is acknowledged only when its contents are stored and the commit that notes them is done, so a worker
that dies loses nothing: the runner sends the rest to the next one. The row is written when everything is stored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec
import zstandard

from runs.blobs import BlobError, BlobStore, Stored
from runs.events.types import SnapshotFailed
from runs.models import Event, Node, Step
from runs.services.config import SnapshotPolicy
from runs.services.nodebox import NodeBox
from runs.services.snapshots.checking import ContentCheck, NotOurs
from runs.services.snapshots.recording import Complete, changes_between, copy_row, newest_row, write_row
from runs.services.snapshots.storing import sizes, store_part
from runs.services.transaction import SessionTransaction
from runs.text import scrub
from sandboxes.errors import SandboxError
from sandboxes.frames import LiveDropped, RunnerError, SnapshotDone, SnapshotPart, SnapshotTaken
from sandboxes.manifest import MAX_MANIFEST_BYTES, Manifest, ManifestError, decode_manifest
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

SnapshotFrame = SnapshotTaken | SnapshotPart | SnapshotDone | LiveDropped
ID_PREFIX = "step-"
PRESSING_PARTS = 2
"""Parts that are stored and not acknowledged: the runner waits when there are `MAX_PARTS_AHEAD`."""
UNTOUCHED = msgspec.json.encode(Manifest(python=""))
"""The state of a node that never had a sandbox: contexts and tools, no code was run. It fits every Python."""


class PartStored:
    """A signal: a part of a snapshot was stored, or could not be."""


@dataclass(slots=True)
class _Part:
    seq: int
    id: str
    future: Future[list[Stored]]


@dataclass(slots=True)
class _Wanted:
    """A snapshot that is on its way. `asked`: this worker asked for it, or the one that began the next step did."""

    step: int
    asked: bool
    size_bytes: int = 0
    new_bytes: int = 0
    done: SnapshotDone | None = None


@dataclass(slots=True)
class _News:
    """What the next commit records."""

    stored: list[Stored] = field(default_factory=list)
    complete: list[Complete] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    """Steps without a snapshot, with the reasons."""
    parts: int = 0

    def __bool__(self) -> bool:
        return bool(self.stored or self.complete or self.copies or self.failed)


class SnapshotTaker:
    """The snapshots of one node in this worker. `signal` is called from other threads when there is something to record."""

    def __init__(
        self,
        node: Node,
        box: NodeBox,
        store: BlobStore,
        signal: Callable[[PartStored], None],
        policy: SnapshotPolicy = "every",
    ) -> None:
        self._node = node
        self._box = box
        self._store = store
        self._signal = signal
        self._policy = policy
        self._check = ContentCheck(node, store)
        spec = box.spec()
        self._most_bytes = (spec.memory_mb + spec.disk_mb) * 1024 * 1024
        self._wanted: dict[str, _Wanted] = {}
        self._parts: list[_Part] = []
        self._news = _News()
        self._before: tuple[int, Manifest] | None = None
        """Step and manifest of the latest complete snapshot."""
        self._lacks_contents = False
        """The sandbox sent contents that are not in the store: it does not know, and would not send them again."""

    @property
    def unfinished(self) -> bool:
        """Is a snapshot that was asked for on its way?"""
        return bool(self._parts) or any(wanted.asked for wanted in self._wanted.values())

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    @property
    def pressing(self) -> bool:
        """Should the news be recorded now? The runner would have to wait for it."""
        return self._news.parts >= PRESSING_PARTS

    def wants(self, *, last: bool) -> bool:
        """Does the session have a snapshot of this step?"""
        return self._policy == "every" or (self._policy == "last" and last)

    def take(self, step: int) -> None:
        """At the end of a step, before its commit: save the state, or note that it is the one of the step before."""
        if self._box.link is None:
            self._news.copies.append(step)
            return
        wanted = self._want(step)
        wanted.asked = True
        if wanted.done is None:
            # Carried out once: when a worker that died has asked already, the runner says again how that went.
            self._box.link.snapshot(f"{ID_PREFIX}{step}", full=self._lacks_contents)
            self._lacks_contents = False
        self.settle()

    def leave_out(self, step: int, reason: str) -> None:
        """There is no snapshot of this step."""
        self._news.failed[step] = reason

    def take_frame(self, frame: SnapshotFrame | RunnerError, current_step: int) -> None:
        """A frame about snapshots, or an error that may be about one."""
        step = None if isinstance(frame, LiveDropped) else _step_of(frame.id, current_step)
        match frame:
            case _ if step is None:
                return
            case SnapshotTaken():
                self._ours(step, current_step)
            case SnapshotPart():
                self._take_part(frame, self._want(step))
            case SnapshotDone():
                self._ours(step, current_step).done = frame
                self.settle()
            case RunnerError() if frame.id in self._wanted:
                del self._wanted[frame.id]
                self.leave_out(step, f"the sandbox refused: {frame.message}")

    def take_over(self, states: Mapping[str, str], current_step: int) -> None:
        """What the runner is at (`state.snapshots`), asked by a worker that let go of the node."""
        for id, state in states.items():
            step = _step_of(id, current_step)
            if step is not None and step < current_step and state in ("taking", "writing"):
                self._ours(step, current_step)

    def ask_again(self, states: Mapping[str, str], step: int) -> None:
        """Nothing ran since `step`, and the runner was not asked for its snapshot: the worker that ended the step died
        before the request had left it."""
        if step < 1 or f"{ID_PREFIX}{step}" in states:
            return
        if self.unaccounted(before_step=step + 1)[-1:] == [step]:
            self.take(step)

    def settle(self) -> None:
        """A part was stored, or could not be: see what is complete now."""
        for part in [part for part in self._parts if part.future.done()]:
            self._parts.remove(part)
            self._part_stored(part)
        ready = [(wanted.done, id) for id, wanted in self._wanted.items() if wanted.done is not None and wanted.asked]
        for done, id in sorted(ready, key=lambda each: each[0].seq):
            # Contents of earlier snapshots count as well: nothing that came before may be on its way.
            if not any(part.seq < done.seq for part in self._parts):
                self._finish(self._wanted.pop(id), done)

    def lose(self) -> None:
        """The sandbox is gone, and what was not complete with it: see `unaccounted`."""
        self._wanted.clear()
        self._parts.clear()

    def unaccounted(self, *, before_step: int, last: bool = False) -> list[int]:
        """Steps that should have a snapshot and have none without the log saying why: workers may have died that had
        asked for them. `last`: the newest of them is the node's last."""
        node, news = self._node, self._news
        numbers = Step.objects.filter(node=node, number__lt=before_step, inherited=False)
        steps = [
            step
            for step in numbers.values_list("number", flat=True)
            if self.wants(last=last and step == before_step - 1)
        ]
        if not steps:
            return []
        rows = Snapshot.objects.filter(node_uuid=node.uuid).values_list("step_number", flat=True)
        failed = Event.objects.filter(session_id=node.session_id, node=node.number, type="snapshot.failed")
        known = {*rows, *(json.loads(event.data)["step"] for event in failed), *news.copies, *news.failed}
        known.update(complete.step for complete in news.complete)
        return [step for step in steps if step not in known]

    def safe_seq(self, seen_seq: int) -> int:
        """The newest frame that may be acknowledged: nothing behind a part that is still being stored, or behind a
        manifest that is not asked for yet (its file goes when it is acknowledged)."""
        held = [part.seq for part in self._parts]
        held += [wanted.done.seq for wanted in self._wanted.values() if wanted.done is not None]
        return min([seen_seq, *(seq - 1 for seq in held)])

    def commit(self, changes: SessionTransaction) -> None:
        """Inside the transaction: the rows of what is complete, the uses of what is stored. Once."""
        # A transaction that fails ends this worker's hold on the node, and the runner sends the frames again.
        news, self._news = self._news, _News()
        if not news:
            return
        for stored in news.stored:
            changes.keep(stored)
        for complete in news.complete:
            taken = write_row(changes, self._node, complete)
            if taken is not None:
                changes.emit(taken)
        for step in news.copies:
            copied = copy_row(changes, self._node, step, self._store.put(UNTOUCHED))
            changes.emit(copied or self._failed(step, "the state of the step before it was not saved"))
        changes.emit(*(self._failed(step, reason) for step, reason in news.failed.items()))

    # Frames ---------------------------------------------------------------------------------------------------------

    def _ours(self, step: int, current_step: int) -> _Wanted:
        """What the worker of an earlier step asked for is ours to finish; of this step only `take` may say so."""
        wanted = self._want(step)
        wanted.asked = wanted.asked or (step < current_step and self._policy == "every")
        return wanted

    def _want(self, step: int) -> _Wanted:
        return self._wanted.setdefault(f"{ID_PREFIX}{step}", _Wanted(step, asked=False))

    def _take_part(self, frame: SnapshotPart, wanted: _Wanted) -> None:
        wanted.size_bytes += sum(abs(blob.size_bytes) for blob in frame.blobs)
        if wanted.size_bytes > self._most_bytes:
            logger.warning("node %s sends more for one snapshot than its sandbox can hold", self._node.pk)
            return  # acknowledged and forgotten: the manifest that names these contents will be refused
        future = store_part(self._box.sandbox, frame, self._store, self._most_bytes)
        self._parts.append(_Part(frame.seq, frame.id, future))
        if future.done():
            self.settle()
        else:
            future.add_done_callback(lambda _: self._signal(PartStored()))

    def _part_stored(self, part: _Part) -> None:
        wanted = self._wanted.get(part.id)
        try:
            stored = part.future.result()
        except (SandboxError, BlobError, OSError) as error:
            self._lacks_contents = True
            if self._wanted.pop(part.id, None) is not None and wanted is not None:
                self.leave_out(wanted.step, f"its contents could not be stored: {error}")
            return
        self._news.parts += 1
        self._news.stored += stored
        for content in stored:
            self._check.add(content.sha256)
        if wanted is not None:
            wanted.new_bytes += sizes(stored)

    def _finish(self, wanted: _Wanted, done: SnapshotDone) -> None:
        if done.manifest is None:
            self.leave_out(wanted.step, done.error or "the sandbox gave no reason")
            return
        try:
            assert self._box.link is not None
            text = self._box.link.read_payload(done.manifest, MAX_MANIFEST_BYTES)
            manifest = decode_manifest(text)
            before = self._manifest_before(wanted.step)
            self._check.check(manifest, before)
        except (ManifestError, NotOurs, BlobError, SandboxError) as error:
            self._lacks_contents = True
            self.leave_out(wanted.step, str(error))
            return
        stored = self._store.put(text.encode())
        changed = changes_between(before.variables if before is not None else (), manifest.variables)
        self._news.complete.append(
            Complete(wanted.step, manifest, stored, wanted.new_bytes + stored.stored_bytes, changed)
        )
        self._before = (wanted.step, manifest)

    def _manifest_before(self, step: int) -> Manifest | None:
        """Of the newest complete snapshot before `step`; None when there is none that can be read."""
        if self._before is not None and self._before[0] < step:
            return self._before[1]
        row = newest_row(self._node, step - 1)
        if row is None or row.collected_at is not None:
            return None
        try:
            return decode_manifest(self._store.get(row.manifest_sha256))
        except (BlobError, zstandard.ZstdError, ManifestError) as error:
            logger.warning("the manifest before step %s cannot be read: %s", step, error)
            return None

    def _failed(self, step: int, reason: str) -> SnapshotFailed:
        return SnapshotFailed(node=self._node.number, step=step, reason=scrub(reason)[:500])


def _step_of(id: str, current_step: int) -> int | None:
    """The step that a snapshot of this id is of; None when this node cannot have asked for it."""
    number = id.removeprefix(ID_PREFIX)
    if id == number or not number.isascii() or not number.isdecimal() or len(number) > 9:
        return None
    step = int(number)
    return step if 1 <= step <= current_step and f"{ID_PREFIX}{step}" == id else None


__all__ = ["PartStored", "SnapshotFrame", "SnapshotTaker"]
