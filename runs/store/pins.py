"""Pins: what the retention policy leaves alone, a whole session or one snapshot of it."""

from __future__ import annotations

from django.db import transaction

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import Session
from runs.services.giving_up import giving_up_of
from runs.services.snapshots.reading import SnapshotMissing, manifest_of, snapshot_of
from sandboxes.models import Snapshot


def pin_session(session: Session, *, actor: Actor, pinned: bool) -> None:
    """Pin or unpin; idempotent. What was given up before does not come back."""
    with transaction.atomic():
        giving_up_of(session.pk)
        changed = Session.objects.filter(pk=session.pk, pinned=not pinned).update(pinned=pinned)
        if changed:
            _audit("session", session, actor, pinned, {})
    session.pinned = pinned


def pin_snapshot(session: Session, node: int, step: int, *, actor: Actor, pinned: bool) -> Snapshot:
    """Pin or unpin the snapshot of a step; idempotent. Only what can be restored is pinned. Raises `SnapshotError`."""
    with transaction.atomic():
        # The policy works out what a session needs under this lock.
        giving_up_of(session.pk)
        snapshot = snapshot_of(session, node, step)
        if snapshot is None:
            raise SnapshotMissing(f"there is no snapshot of step {step} of node {node}")
        if pinned:
            manifest_of(snapshot)
        if snapshot.pinned != pinned:
            snapshot.pinned = pinned
            snapshot.save(update_fields=["pinned"])
            _audit("snapshot", session, actor, pinned, {"node": node, "step": step, "snapshot": str(snapshot.uuid)})
    return snapshot


def _audit(kind: str, session: Session, actor: Actor, pinned: bool, details: dict[str, object]) -> None:
    audit(
        f"{kind}.{'pin' if pinned else 'unpin'}",
        actor=actor.name,
        object_type="session",
        object_id=session.uuid,
        team_uuid=session.team.uuid,
        source=actor.source,
        details=details,
    )
