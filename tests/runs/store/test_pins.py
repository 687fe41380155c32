"""Pins: idempotent, on record, only for what is there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from runs.access import Actor
from runs.models import Session
from runs.services.snapshots.reading import SnapshotExpired, SnapshotMissing, snapshots_of
from runs.store.collect import collect
from runs.store.pins import pin_session, pin_snapshot
from runs.store.policy import Policy
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(None, "test")


def thin_everything() -> int:
    policy = Policy(snapshot_days=0, keep_every=1000, unused_hours=0)
    return collect(policy, dry_run=False, now=timezone.now() + timedelta(days=2)).snapshots


def test_a_pin_holds_until_it_is_taken_away() -> None:
    session = run_cells("x = 1", "x = 2")
    for _ in range(2):
        pin_session(session, actor=ACTOR, pinned=True)
    assert thin_everything() == 0
    for _ in range(2):
        pin_session(session, actor=ACTOR, pinned=False)
    assert not Session.objects.get(pk=session.pk).pinned
    pin_snapshot(session, 0, 1, actor=ACTOR, pinned=True)
    assert thin_everything() == 1
    assert [row.step_number for row in snapshots_of(session).filter(collected_at=None)] == [1, 3]
    actions = list(AuditEntry.objects.filter(action__contains="pin").order_by("pk").values_list("action", flat=True))
    assert actions == ["session.pin", "session.unpin", "snapshot.pin"]


def test_what_is_gone_cannot_be_pinned() -> None:
    session = run_cells("x = 1", "x = 2")
    thin_everything()
    with pytest.raises(SnapshotExpired):
        pin_snapshot(session, 0, 1, actor=ACTOR, pinned=True)
    with pytest.raises(SnapshotMissing):
        pin_snapshot(session, 0, 9, actor=ACTOR, pinned=True)
    assert not snapshots_of(session).filter(pinned=True).exists()
