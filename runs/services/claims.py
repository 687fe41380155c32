"""Claiming a step: who may work on it is decided in the database, never by the broker.

1. The wake-up (a task, the reconciler) names a step; it may be late, doubled, or wrong.
2. `claim_step` takes the session's lock and looks at the row: only a step that is ready, or whose lease ran out, is
   given, with a fresh token. Anyone else gets None.
3. Every later commit of the holder compares the token (`check_fence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from runs.events.types import StepResumed, StepRetried
from runs.models import Session, Step
from runs.services.leases import LEASE_S, WORKER_NAME, FenceLost
from runs.services.transaction import SessionTransaction, session_transaction

LEASE = timedelta(seconds=LEASE_S)
MAX_CRASHES = 10
"""Times a step may lose its worker before it is taken for the cause."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one step. `again`: it was worked on before, so journal and runner may know more than we."""

    step_pk: int
    session_pk: int
    token: UUID
    again: bool


class Poisoned(Exception):
    """The step lost its worker too often."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"step {step.number} of node {step.node.number} lost its worker {step.crashes} times")
        self.step = step


def claim_step(uuid: UUID) -> Claim | None:
    """Take the step if it is to be had. Raises `Poisoned` when it should not be run again."""
    found = Step.objects.select_related("session").filter(uuid=uuid).first()
    if found is None or not _may_be_claimed(found):
        return None
    with session_transaction(found.session) as changes:
        # Another worker may have had the lock before us: look again under it.
        step = Step.objects.select_related("node").select_for_update(of=("self",)).get(pk=found.pk)
        if not _may_be_claimed(step) or found.session.status != Session.Status.RUNNING:
            return None
        again = step.attempt > 0
        expired = step.status == Step.Status.RUNNING
        if expired:
            step.crashes += 1
            if step.crashes > MAX_CRASHES:
                raise Poisoned(step)
        _note(changes, step, expired=expired)
        return _take(step, again)


def postpone_step(claim: Claim, delay_s: float, *, crashed: bool = True) -> None:
    """Give the step back, to be tried again after `delay_s`: what it needs is away for the moment.

    `crashed`: it counts among the attempts after which the step is given up.
    """
    Step.objects.filter(pk=claim.step_pk, lease_token=claim.token, status=Step.Status.RUNNING).update(
        status=Step.Status.READY,
        lease_token=None,
        lease_expires_at=Now() + timedelta(seconds=delay_s),
        crashes=F("crashes") + int(crashed),
    )


def _may_be_claimed(step: Step) -> bool:
    if step.status not in (Step.Status.READY, Step.Status.RUNNING):
        return False
    # For a ready step the time is when it may be tried again; for a running one, when its lease runs out.
    return step.lease_expires_at is None or step.lease_expires_at < timezone.now()


def _note(changes: SessionTransaction, step: Step, *, expired: bool) -> None:
    if expired:
        reason = f"worker {step.worker or 'unknown'} was lost"
        changes.emit(StepRetried(node=step.node.number, step=step.number, attempt=step.attempt + 1, reason=reason))
    elif step.attempt > 0:
        changes.emit(StepResumed(node=step.node.number, step=step.number))


def _take(step: Step, again: bool) -> Claim:
    token = uuid4()
    step.status = Step.Status.RUNNING
    step.attempt += 1
    step.lease_token = token
    step.worker = WORKER_NAME
    step.started_at = step.started_at or timezone.now()
    step.save(update_fields=["status", "attempt", "crashes", "lease_token", "worker", "started_at"])
    Step.objects.filter(pk=step.pk).update(lease_expires_at=Now() + LEASE)
    return Claim(step.pk, step.session_id, token, again)


def check_fence(claim: Claim) -> None:
    """Inside a session transaction: raises `FenceLost` unless the step is still ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM runs_step WHERE id = %s AND lease_token = %s AND status = 'running'",
            [claim.step_pk, claim.token],
        )
        if cursor.fetchone() is None:
            raise FenceLost("the step was taken over or stopped")
