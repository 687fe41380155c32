"""Rows and events of complete snapshots, inside the transaction of their session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from runs.blobs import Stored
from runs.events.types import SnapshotTaken
from runs.models import Node
from runs.services.transaction import SessionTransaction
from runs.text import scrub
from sandboxes.manifest import Manifest, VariableState
from sandboxes.models import Snapshot
from sandboxes.rows import insert_snapshot, provider_of_sandbox

KEPT_DROPPED = 100
SHOWN_DROPPED = 20
SHOWN_CHANGED = 50
SHOWN_NAME_CHARS = 60
SHOWN_DROPPED_BYTES = 1_000
SHOWN_CHANGED_BYTES = 2_000
"""What names take of an event, which has a limit."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A snapshot with all of its contents in the store. `new_bytes`: what it added there."""

    step: int
    manifest: Manifest
    text: Stored
    new_bytes: int
    changed: Sequence[str]


def write_row(changes: SessionTransaction, node: Node, complete: Complete) -> SnapshotTaken | None:
    """Write the row of a complete snapshot. None when its step has one: the first is the one on record."""
    manifest = complete.manifest
    row = Snapshot(
        session_uuid=node.session.uuid,
        node_uuid=node.uuid,
        step_number=complete.step,
        provider=_provider(node),
        manifest_sha256=complete.text.sha256,
        python=scrub(manifest.python)[:32],
        holds=["variables", "files"] if manifest.files else ["variables"],
        dropped=[_dropped(each.name, each.type, each.reason) for each in manifest.dropped[:KEPT_DROPPED]],
        size_bytes=sum(piece.size_bytes for piece in manifest.pieces) + sum(file.size_bytes for file in manifest.files),
        stored_bytes=complete.new_bytes,
    )
    if not insert_snapshot(row, node.sandbox_uuid):
        return None
    changes.keep(complete.text)
    return _event(node, row, complete.changed)


def _provider(node: Node) -> str:
    """Where the node's sandbox is: not where the session asked for it to be, when that had no room."""
    config = node.session.config
    if not config.get("fallback") or node.sandbox_uuid is None:
        return str(config.get("provider", "local"))
    return provider_of_sandbox(node.sandbox_uuid)


def copy_row(changes: SessionTransaction, node: Node, step: int, untouched: Stored) -> SnapshotTaken | None:
    """The row of a step that had no sandbox: its state is that of the step before, or `untouched` when it never had one.

    None when the step before had a state that was not saved.
    """
    before = newest_row(node, step)
    if before is None and not node.sandbox_uuid:
        row = Snapshot(manifest_sha256=untouched.sha256, holds=["variables"], provider="")
        changes.keep(untouched)
    elif before is not None and before.step_number == step - 1:
        row = before
    else:
        return None
    copy = Snapshot.objects.create(
        session_uuid=node.session.uuid,
        node_uuid=node.uuid,
        step_number=step,
        sandbox_id=row.sandbox_id,
        provider=row.provider,
        manifest_sha256=row.manifest_sha256,
        python=row.python,
        parent=before,
        holds=row.holds,
        dropped=row.dropped,
        size_bytes=row.size_bytes,
    )
    return _event(node, copy, ())


def newest_row(node: Node, step: int) -> Snapshot | None:
    """The node's snapshot of `step`, or else the newest before it."""
    rows = Snapshot.objects.filter(node_uuid=node.uuid, step_number__lte=step, kind=Snapshot.Kind.PORTABLE)
    return rows.order_by("-step_number").first()


def changes_between(before: Sequence[VariableState], after: Sequence[VariableState]) -> list[str]:
    """Names that were added or changed, and `-name` for deleted ones."""
    old = {variable.name: variable.digest for variable in before}
    new = {variable.name for variable in after}
    changed = [each.name for each in after if not each.digest or old.get(each.name) != each.digest]
    return [*changed, *(f"-{name}" for name in old if name not in new)]


def _dropped(name: str, kind: str, reason: str) -> dict[str, str]:
    return {"name": scrub(name), "type": scrub(kind), "reason": scrub(reason)}


def _event(node: Node, row: Snapshot, changed: Sequence[str]) -> SnapshotTaken:
    return SnapshotTaken(
        node=node.number,
        step=row.step_number,
        snapshot=str(row.uuid),
        holds=row.holds,
        size_bytes=row.size_bytes,
        stored_bytes=row.stored_bytes,
        dropped=_shown([each["name"] for each in row.dropped[:SHOWN_DROPPED]], SHOWN_DROPPED_BYTES),
        changed=_shown(changed[:SHOWN_CHANGED], SHOWN_CHANGED_BYTES),
    )


def _shown(names: Sequence[str], most_bytes: int) -> list[str]:
    """The first of `names`, each cut, that fit in as many bytes of JSON."""
    shown = [scrub(name)[:SHOWN_NAME_CHARS] for name in names]
    sizes = accumulate(len(msgspec.json.encode(name)) + 1 for name in shown)
    return [name for name, size_bytes in zip(shown, sizes, strict=True) if size_bytes <= most_bytes]
