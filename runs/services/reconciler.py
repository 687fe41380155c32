"""The reconciler: finds what should happen and does not, from the database alone.

It runs in the workers, one at a time for the installation, every `INTERVAL_S`. The broker may lose everything and
workers may die: work goes on within seconds.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from runs.engine.limits import Limits
from runs.events.types import ErrorInfo, LimitHit
from runs.models import Node, OutboxMessage, Session, Step
from runs.services.config import config_from_plain
from runs.services.dispatch import EXECUTE_STEP, send
from runs.services.endings import end_session_early
from runs.services.jobs import RUN_JOB, due_jobs
from runs.services.transaction import session_transaction
from sandboxes import services as sandbox_services
from sandboxes.models import SandboxRecord

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0
OUTBOX_AGE = timedelta(seconds=2)
READY_AGE = timedelta(seconds=5)
"""A ready step that nobody has claimed after this long has lost its wake-up."""
ORPHAN_AGE = timedelta(minutes=2)
BATCH = 500


def reconcile() -> dict[str, int]:
    """One round; returns what was done. `settings.PERIODIC_JOBS` sees to it that one runs at a time."""
    return {
        "outbox": _send_leftovers(),
        "steps": _wake_steps(),
        "parents": _wake_parents(),
        "overdue": _end_overdue_sessions(),
        "jobs": _send_now(RUN_JOB, [[str(uuid)] for uuid in due_jobs(BATCH, READY_AGE)]),
    }


def end_orphans() -> int:
    """The slower round: sandboxes that nobody wants any more. Returns how many were ended."""
    return _end_orphans()


def _send_leftovers() -> int:
    """Messages whose sender died between commit and send, or that the broker did not take."""
    return send(list(OutboxMessage.objects.filter(created_at__lt=Now() - OUTBOX_AGE)[:BATCH]))


def _wake_steps() -> int:
    """Steps whose worker's lease ran out, and ready ones that nobody came for."""
    due = Q(status=Step.Status.RUNNING, lease_expires_at__lt=Now()) | Q(
        Q(lease_expires_at__lt=Now()) | Q(lease_expires_at__isnull=True, created_at__lt=Now() - READY_AGE),
        status=Step.Status.READY,
    )
    uuids = Step.objects.filter(due, session__status=Session.Status.RUNNING).values_list("uuid", flat=True)[:BATCH]
    return _send_now(EXECUTE_STEP, [[str(uuid)] for uuid in uuids])


def _wake_parents() -> int:
    """Waiting steps without a running child: whoever ended the last one did not say so."""
    running = Node.objects.filter(parent_step=OuterRef("pk"), status=Node.Status.RUNNING)
    waiting = Step.objects.filter(status=Step.Status.WAITING, session__status=Session.Status.RUNNING)
    stuck = list(waiting.exclude(Exists(running)).values_list("pk", "uuid")[:BATCH])
    Step.objects.filter(pk__in=[pk for pk, _ in stuck], status=Step.Status.WAITING).update(status=Step.Status.READY)
    return _send_now(EXECUTE_STEP, [[str(uuid)] for _, uuid in stuck])


def _end_orphans() -> int:
    """Sandboxes whose node is over or has another one by now, and those at the provider that nobody wants."""
    theirs = Node.objects.filter(uuid=OuterRef("node_uuid"), status=Node.Status.RUNNING, sandbox_ref=OuterRef("ref"))
    running = SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING)
    kept = Q(kept_until__isnull=False, kept_until__gt=Now())
    orphans = running.filter(~Exists(theirs), ~kept, created_at__lt=Now() - ORPHAN_AGE)
    sandbox_services.mark_ended(orphans.values_list("ref", flat=True)[:BATCH])
    return sandbox_services.end_unknown(ORPHAN_AGE.total_seconds())


def _end_overdue_sessions() -> int:
    """Sessions past their wall time whose steps all wait, so that no driver looks at the clock."""
    ended = 0
    for session in Session.objects.filter(status=Session.Status.RUNNING).iterator(chunk_size=BATCH):
        limits: Limits = config_from_plain(session.config).limits
        wall_s = (timezone.now() - session.created_at).total_seconds()
        # Drivers end a session at its limit themselves; this is for the others, a little later.
        if limits.max_wall_s is not None and wall_s > limits.max_wall_s + 2 * INTERVAL_S:
            _end_overdue(session, wall_s, limits.max_wall_s)
            ended += 1
    return ended


def _end_overdue(session: Session, wall_s: float, allowed_s: float) -> None:
    with session_transaction(session) as changes:
        changes.emit(LimitHit(limit="max_wall_s", used=wall_s, allowed=allowed_s, node=0))
        message = f"the session ran for {wall_s:.0f} s; it may run for {allowed_s:.0f} s"
        end_session_early(changes, Session.Status.LIMITED, ErrorInfo("LimitReached", message))


def _send_now(task: str, args_list: list[list[object]]) -> int:
    if not args_list:
        return 0
    return send([OutboxMessage(task=task, args=args) for args in args_list])
