"""What happens at a hard limit while a session runs: the step waits and goes on by itself, or the session ends.

A step that waits is put back with a time, as for any other thing that is away; what it waits for is on record
(`Waiting`), for the page and for a look before the step is claimed again.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from rlmweb.quotas.booking import starts_on
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import Balance, Quota, Waiting
from rlmweb.quotas.resources import GPU
from rlmweb.quotas.scopes import Scope
from rlmweb.quotas.warnings import standings
from runs.events.types import ErrorInfo, LimitHit
from runs.models import Session, Step
from runs.services.claims import Claim, check_fence, postpone_step
from runs.services.endings import end_session_early
from runs.services.quota_knots import WAY_OUT, is_knotted
from runs.services.quota_scopes import scopes_of_session
from runs.services.transaction import SessionTransaction, session_transaction

RETRY_S = 5.0
"""How soon after a release a waiting step may go on, at the latest; looking costs two short queries."""


def meet(claim: Claim, step: Step, refusal: QuotaExceeded) -> None:
    """The step cannot go on within a quota: do what the quota says. Raises `FenceLost` when it is not ours any more."""
    session = Session.objects.get(pk=step.session_id)
    with session_transaction(session) as changes:
        check_fence(claim)
        knotted = is_knotted(refusal.scope, refusal.resource, session.uuid)
        if knotted or refusal.on_exceed == Quota.OnExceed.STOP:
            _tell(changes, step, refusal)
            message = f"{refusal} {WAY_OUT}" if knotted else str(refusal)
            end_session_early(changes, Session.Status.LIMITED, ErrorInfo("QuotaExceeded", message))
            return
        _, is_new = Waiting.objects.update_or_create(
            step_uuid=step.uuid,
            defaults={
                "session_uuid": session.uuid,
                "scope_kind": refusal.scope.kind,
                "scope_uuid": refusal.scope.uuid,
                "resource": refusal.resource,
                "period": refusal.period,
                "requested": refusal.requested,
                "sentence": str(refusal),
            },
        )
        if is_new:
            _tell(changes, step, refusal)
        postpone_step(claim, RETRY_S, crashed=False)


def must_wait(step_uuid: UUID) -> bool:
    """Whether the step waits for a quota that still has no room; then its time is set anew. Asked before it is claimed,
    so that waiting leaves no trace in the session's log."""
    waiting = Waiting.objects.filter(step_uuid=step_uuid).first()
    if waiting is None:
        return False
    if has_room(waiting):
        waiting.delete()
        return False
    if is_knotted(Scope(waiting.scope_kind, waiting.scope_uuid), waiting.resource, waiting.session_uuid):
        return False  # the claim finds the same and ends the session
    later = Now() + timedelta(seconds=RETRY_S)
    return bool(Step.objects.filter(uuid=step_uuid, status=Step.Status.READY).update(lease_expires_at=later))


def has_room(waiting: Waiting) -> bool:
    """As far as can be seen without reserving: the reservation decides."""
    of_scope = {"scope_kind": waiting.scope_kind, "scope_uuid": waiting.scope_uuid, "resource": waiting.resource}
    quota = Quota.objects.filter(**of_scope, period=waiting.period).first()
    if quota is None or quota.on_exceed == Quota.OnExceed.STOP:
        return True  # nothing to wait for any more: the next try says what becomes of it
    starts = starts_on(waiting.period, timezone.now().date())
    row = Balance.objects.filter(**of_scope, period=waiting.period, period_start=starts).first()
    taken = row.used + row.reserved if row is not None else 0
    return taken + waiting.requested <= quota.limit


def require_sandbox_time(session: Session) -> None:
    """A sandbox that runs is charged beyond a limit, too, since it runs; but no step is begun there any more.

    Raises `QuotaExceeded`.
    """
    for standing in standings(scopes_of_session(session)):
        quota = standing.quota
        if quota.resource.startswith(("sandbox_ms", GPU)) and standing.used + standing.reserved > quota.limit:
            raise QuotaExceeded(
                quota.scope,
                quota.resource,
                limit=quota.limit,
                used=standing.used + standing.reserved,
                requested=0,
                period=quota.period,
                resets_at=standing.resets_at,
                on_exceed=quota.on_exceed,
            )


def _tell(changes: SessionTransaction, step: Step, refusal: QuotaExceeded) -> None:
    changes.emit(
        LimitHit(
            limit=refusal.quota,
            used=float(refusal.used),
            allowed=float(refusal.limit),
            node=step.node.number,
            step=step.number,
        )
    )
