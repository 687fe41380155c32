"""Rows and events of complete snapshots, inside the transaction of their session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs.blobs import BlobError, Stored
from runs.events.types import SnapshotTaken
from runs.models import Node
from runs.services.snapshots.storing import sizes
from runs.services.transaction import SessionTransaction
from sandboxes.manifest import Manifest, ManifestError, VariableState, decode_manifest
from sandboxes.models import SandboxRecord, Snapshot

KEPT_DROPPED = 100
SHOWN_DROPPED = 20
SHOWN_CHANGED = 50


@dataclass(frozen=True, slots=True)
class Complete:
    """A snapshot with all of its contents in the store. `stored`: those that came with it."""

    step: int
    manifest: Manifest
    text: Stored
    stored: Sequence[Stored]


def write_row(changes: SessionTransaction, node: Node, complete: Complete) -> SnapshotTaken:
    """Write the row of a complete snapshot; one that a lost worker wrote for the same step is replaced."""
    manifest = complete.manifest
    before = _before(node, complete.step)
    holds = ["variables", "files"] if manifest.files else ["variables"]
    size_bytes = sum(piece.size_bytes for piece in manifest.pieces) + sum(file.size_bytes for file in manifest.files)
    stored_bytes = sizes(complete.stored) + complete.text.stored_bytes
    row, _ = Snapshot.objects.update_or_create(
        node_uuid=node.uuid,
        step_number=complete.step,
        kind=Snapshot.Kind.PORTABLE,
        defaults={
            "sandbox": SandboxRecord.objects.filter(uuid=node.sandbox_uuid).first() if node.sandbox_uuid else None,
            "session_uuid": node.session.uuid,
            "provider": "",
            "manifest_sha256": complete.text.sha256,
            "python": manifest.python[:32],
            "parent": before,
            "holds": holds,
            "dropped": [
                {"name": each.name, "type": each.type, "reason": each.reason}
                for each in manifest.dropped[:KEPT_DROPPED]
            ],
            "size_bytes": size_bytes,
            "stored_bytes": stored_bytes,
        },
    )
    changes.keep(complete.text)
    return SnapshotTaken(
        node=node.number,
        step=complete.step,
        snapshot=str(row.uuid),
        holds=holds,
        size_bytes=size_bytes,
        stored_bytes=stored_bytes,
        dropped=[each.name for each in manifest.dropped[:SHOWN_DROPPED]],
        changed=_changed(changes, before, manifest)[:SHOWN_CHANGED],
    )


def copy_row(changes: SessionTransaction, node: Node, step: int) -> SnapshotTaken | None:
    """The step ran no cell: its state is the one of the step before. None when there was no snapshot of that."""
    before = _before(node, step)
    if before is None or before.step_number != step - 1:
        return None
    row, _ = Snapshot.objects.update_or_create(
        node_uuid=node.uuid,
        step_number=step,
        kind=before.kind,
        defaults={
            name: getattr(before, name)
            for name in (
                "sandbox",
                "session_uuid",
                "provider",
                "manifest_sha256",
                "python",
                "holds",
                "dropped",
                "size_bytes",
            )
        }
        | {"parent": before, "stored_bytes": 0},
    )
    return SnapshotTaken(
        node=node.number, step=step, snapshot=str(row.uuid), holds=before.holds, size_bytes=before.size_bytes
    )


def changes_between(before: Sequence[VariableState], after: Sequence[VariableState]) -> list[str]:
    """Names that were added or changed, and `-name` for deleted ones."""
    old = {variable.name: variable.digest for variable in before}
    new = {variable.name for variable in after}
    changed = [each.name for each in after if not each.digest or old.get(each.name) != each.digest]
    return [*changed, *(f"-{name}" for name in old if name not in new)]


def _before(node: Node, step: int) -> Snapshot | None:
    return (
        Snapshot.objects.filter(node_uuid=node.uuid, step_number__lt=step, kind=Snapshot.Kind.PORTABLE)
        .order_by("-step_number")
        .first()
    )


def _changed(changes: SessionTransaction, before: Snapshot | None, manifest: Manifest) -> list[str]:
    if before is None:
        return changes_between((), manifest.variables)
    try:
        earlier = decode_manifest(changes.store.get(before.manifest_sha256))
    except (BlobError, ManifestError):
        return changes_between((), manifest.variables)
    return changes_between(earlier.variables, manifest.variables)
