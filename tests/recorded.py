"""Sessions whose events are on record: made-up trajectories, written as the recorder writes events."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from rlmweb.teams.models import Team
from runs.blobs import blob_store
from runs.events import record
from runs.events.types import Event, SessionFinished
from runs.models import Node, Session, SessionMeter
from runs.services.transaction import session_transaction
from tests.factories import make_session
from tests.trajectories import Trajectory

BATCH = 5000


def record_events(session: Session, *events: Event) -> int:
    """Commit events with the doorbell, as the product does; returns the last `seq`."""
    with session_transaction(session) as changes:
        changes.emit(*events)
    return changes.meter.last_seq


def make_recorded_session(log: Trajectory, team: Team | None = None, **fields: Any) -> Session:
    """A session with the whole trajectory, its times moved so that it ends now."""
    session = make_session(team, **fields)
    write_trajectory(session, log)
    return session


def write_trajectory(session: Session, log: Trajectory) -> None:
    """Append the trajectory to the session's log, in large batches and without ringing."""
    shift_ms = int(timezone.now().timestamp() * 1000) - log.at_ms
    store = blob_store()
    for start in range(0, len(log.events), BATCH):
        batch = [record.prepare(event, store, at_ms=at + shift_ms) for at, event in log.events[start : start + BATCH]]
        with transaction.atomic():
            meter = SessionMeter.objects.select_for_update().get(pk=session.pk)
            record.insert(session.pk, meter.last_seq + 1, batch)
            meter.last_seq += len(batch)
            meter.nodes = log.nodes
            meter.save()
    ended = next((event for _, event in reversed(log.events) if isinstance(event, SessionFinished)), None)
    Node.objects.get_or_create(session=session, number=0, defaults={"depth": 0})
    if ended is not None:
        session.status = ended.status
        session.save()
