"""Bringing a node's new sandbox to a recorded state: the one a fork starts from, or the newest before a loss."""

from __future__ import annotations

import logging
from collections.abc import Collection
from queue import Empty
from typing import TypeVar
from uuid import UUID

from runs.models import Node
from runs.services.boxsetup import SETUP_TIMEOUT_S
from runs.services.nodebox import Frames, NodeBox
from runs.services.noderun import NodeRun
from runs.services.snapshots.reading import (
    SnapshotCorrupt,
    SnapshotError,
    SnapshotMissing,
    decode_manifest_of,
    is_untouched,
    latest_snapshot,
    manifest_of,
    manifest_text,
    restore_failed,
)
from runs.services.snapshots.supplying import lacking, supply
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.frames import Finished, Need, Restored, RunnerError, State, SubCall
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

FrameT = TypeVar("FrameT")
BASE_CELL = "base"
NO_MODELS = "variables of a fork are set without asking a model"


class ForkChangeFailed(SandboxError):
    """The code that sets the variables a fork changed did not run."""


def base_of(node: Node) -> Snapshot | None:
    """The snapshot that a forked node starts from. Raises `SnapshotMissing` when it is gone."""
    if node.base_snapshot is None:
        return None
    base = Snapshot.objects.filter(uuid=node.base_snapshot).first()
    if base is None:
        raise SnapshotMissing(
            f"the snapshot {node.base_snapshot} that this session was forked from is not there any more"
        )
    return base


def starting_point(
    node: Node, before_step: int, *, complete: bool, distrusted: Collection[UUID] = ()
) -> Snapshot | None:
    """The newest snapshot of `node` before `before_step` that can be used; None: there is none, start from nothing.

    `complete`: only one that holds every variable. What a snapshot does not hold is made again by running the cells
    after an earlier one, so that a lost sandbox leaves no trace.
    """
    base = base_of(node)
    least = base.step_number if base is not None else 0
    step = before_step - 1
    while (found := latest_snapshot(node, up_to_step=step)) is not None and found.step_number > least:
        try:
            manifest = manifest_of(found)
            if found.uuid not in distrusted and not (complete and manifest.dropped):
                return found
        except SnapshotError as error:
            logger.warning("not restored: %s", error)
        step = found.step_number - 1
    return base


def restore(run: NodeRun, box: NodeBox, snapshot: Snapshot) -> None:
    """Bring the sandbox, just set up, to the state of `snapshot`, and of the fork that starts there.

    Raises `SnapshotError`, `ForkChangeFailed`, other `SandboxError`s. Never asks a model.
    """
    text = manifest_text(snapshot)
    manifest = decode_manifest_of(snapshot, text)
    box.restored = snapshot
    assert box.link is not None
    with box.diverted() as frames:
        if not is_untouched(manifest):
            box.link.restore(f"restore-{snapshot.uuid}", text)
            done = _wait(run, box, frames, Restored)
            if done.error is not None:
                raise restore_failed(snapshot, done.error)
        if run.node.base_code and snapshot.uuid == run.node.base_snapshot:
            box.link.execute(BASE_CELL, run.node.base_code, run.config.limits.cell_timeout_s)
            finished = _wait(run, box, frames, Finished)
            if finished.error is not None:
                error = finished.error
                raise ForkChangeFailed(f"the changed variables could not be set: {error.type}: {error.message}")


def _wait(run: NodeRun, box: NodeBox, frames: Frames, kind: type[FrameT]) -> FrameT:
    """The next frame of this kind, with what it needs supplied meanwhile."""
    assert box.link is not None
    while True:
        try:
            frame = frames.get(timeout=SETUP_TIMEOUT_S)
        except Empty:
            raise StreamLost("the sandbox was silent while it was restored", resumable=False) from None
        if isinstance(frame, SandboxError):
            raise frame
        if isinstance(frame, State):
            continue
        box.seen_seq = max(box.seen_seq, frame.seq)
        box.link.ack(frame.seq)
        if isinstance(frame, kind):
            return frame
        if isinstance(frame, Need):
            missing = supply(box.link, frame, run.node, run.store)
            if missing:
                raise SnapshotCorrupt(lacking(box.restored, missing))
        elif isinstance(frame, SubCall):
            for index in range(len(frame.prompts)):
                box.link.answer(frame.call, index, error=NO_MODELS)
        elif isinstance(frame, RunnerError):
            raise SnapshotError(f"the sandbox refused to be restored: {frame.message}")
