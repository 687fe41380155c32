"""Executing a step: what the Celery task does."""

from __future__ import annotations

import logging
import time
from uuid import UUID

from django.db import InterfaceError, OperationalError

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import may_go_on
from runs.blobs import BlobStoreUnavailable
from runs.engine.io import EndNode
from runs.events.types import ErrorInfo, StepFinished
from runs.models import Session, Step
from runs.services.claims import MAX_CRASHES, Claim, Poisoned, check_fence, claim_step, postpone_step
from runs.services.driver import TURN_S, StepDriver
from runs.services.endings import end_node
from runs.services.leases import FenceLost
from runs.services.noderun import NodeRun
from runs.services.policy import require_step
from runs.services.quota_waits import meet, must_wait, require_sandbox_time
from runs.services.sessions import stop_refused, stop_without_right
from runs.services.transaction import session_transaction
from sandboxes.errors import SandboxError

logger = logging.getLogger(__name__)

RETRY_DELAY_S = 1.0
STORE_RETRY_DELAY_S = 5.0


def execute_step(uuid: UUID) -> None:
    """Claim the step and work on it, and on the node's next ones for a while. Nothing to do when it is not to be had."""
    if must_wait(uuid):
        return
    try:
        claim = claim_step(uuid)
    except Poisoned as poisoned:
        _fail(poisoned.step, ErrorInfo("StepPoisoned", str(poisoned)), None)
        return
    if claim is not None:
        _work(claim)


def _work(claim: Claim) -> None:
    run, step = NodeRun.of_step(claim.step_pk)
    driver: StepDriver | None = StepDriver(run, claim, step, time.monotonic() + TURN_S)
    try:
        require_sandbox_time(run.session)
        while driver is not None:
            claim, step = driver.claim, driver.step
            if not may_go_on(run.session.created_by_id, run.session.team):
                stop_without_right(run.session)
                return
            require_step(run.session)
            driver = driver.drive().successor
    except FenceLost:
        logger.info("step left to others", extra=_where(step))
    except QuotaExceeded as refusal:
        _refused(claim, step, refusal)
    except PolicyRefused as error:
        stop_refused(run.session, str(error))
    except SandboxError as error:
        _sandbox_failed(claim, step, error)
    except BlobStoreUnavailable:
        # Like the record, it comes back, and the step is not to blame. The session's wall time bounds the waiting.
        logger.exception("the blob store failed during a step", extra=_where(step))
        postpone_step(claim, STORE_RETRY_DELAY_S, crashed=False)
    except (OperationalError, InterfaceError):
        # The record is away: nothing can be said about the step. Its lease runs out and another worker takes it up.
        logger.exception("database failed during a step", extra=_where(step))
    except Exception as error:
        logger.exception("step failed", extra=_where(step))
        _fail(step, ErrorInfo(type(error).__name__, f"rlmweb failed while it ran this step: {error}"), claim)
    finally:
        run.close()


def _sandbox_failed(claim: Claim, step: Step, error: SandboxError) -> None:
    crashes = Step.objects.values_list("crashes", flat=True).get(pk=step.pk)
    logger.warning("sandbox failed: %s", error, extra=_where(step))
    if error.retryable and crashes < MAX_CRASHES:
        postpone_step(claim, RETRY_DELAY_S * (crashes + 1))
    else:
        _fail(step, ErrorInfo(type(error).__name__, str(error), retryable=error.retryable), claim)


def _refused(claim: Claim, step: Step, refusal: QuotaExceeded) -> None:
    logger.info("no room in a quota: %s", refusal, extra=_where(step))
    try:
        meet(claim, step, refusal)
    except FenceLost:
        logger.info("step left to others", extra=_where(step))


def _fail(step: Step, error: ErrorInfo, claim: Claim | None) -> None:
    """End the node with an error. Without a claim (a poisoned step) the session's lock is the only guard."""
    session = Session.objects.get(pk=step.session_id)
    try:
        with session_transaction(session) as changes:
            if claim is not None:
                check_fence(claim)
            changes.emit(StepFinished(node=step.node.number, step=step.number, status="failed", error=error))
            Step.objects.filter(pk=step.pk).update(
                status=Step.Status.FAILED, lease_token=None, lease_expires_at=None, error_type=error.type
            )
            end_node(changes, step.node, EndNode("failed", error=error))
    except FenceLost:
        logger.info("step left to others", extra=_where(step))


def _where(step: Step) -> dict[str, object]:
    return {"session": step.session_id, "node": step.node_id, "step": step.number}
