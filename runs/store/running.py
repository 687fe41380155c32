"""Collections on record: asked for by the clock, a page or a command, done by one process, their report kept."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import StoreRun
from runs.services.dispatch import send_on_commit
from runs.store.collect import collect
from runs.store.policy import Policy, policy_from_plain, policy_of_installation
from runs.store.report import Report, report_to_plain

logger = logging.getLogger(__name__)

COLLECT_GARBAGE = "runs.collect_garbage"
EVERY = timedelta(days=1)
LOST_AFTER = timedelta(minutes=5)
"""A run that nobody began by then has lost its wake-up."""
KEPT_RUNS = 100


def ask_for_run(policy: Policy, *, dry_run: bool, actor: Actor) -> StoreRun:
    """Record a collection and have a worker do it."""
    with transaction.atomic():
        run = _record(policy, dry_run, actor)
        send_on_commit(COLLECT_GARBAGE, [[str(run.uuid)]])
    return run


def run_now(policy: Policy, *, dry_run: bool, actor: Actor) -> Report:
    """Collect in this process, on record. Raises what `collect` raises."""
    return _do(_record(policy, dry_run, actor))


def do_run(uuid: UUID) -> None:
    """Do what was asked for, unless somebody has begun it. What goes wrong stands in its row."""
    if not StoreRun.objects.filter(uuid=uuid, status=StoreRun.Status.READY).update(status=StoreRun.Status.RUNNING):
        return
    try:
        _do(StoreRun.objects.get(uuid=uuid))
    except Exception:
        # The row says what it was to those who asked; a task that fails again and again helps nobody.
        logger.exception("garbage was not collected", extra={"run": str(uuid)})


def collect_daily() -> None:
    """One look by the clock: is a collection due? It only asks for one: the clock has other things to do."""
    last = StoreRun.objects.filter(dry_run=False).first()
    if last is None or last.created_at < timezone.now() - EVERY:
        ask_for_run(policy_of_installation(), dry_run=False, actor=Actor(None, "worker"))
    lost = Q(status=StoreRun.Status.READY, created_at__lt=timezone.now() - LOST_AFTER)
    with transaction.atomic():
        send_on_commit(COLLECT_GARBAGE, [[str(run.uuid)] for run in StoreRun.objects.filter(lost)])


def _record(policy: Policy, dry_run: bool, actor: Actor) -> StoreRun:
    return StoreRun.objects.create(
        dry_run=dry_run, policy=policy.to_plain(), asked_by=actor.name, source=actor.source[:16]
    )


def _do(run: StoreRun) -> Report:
    run.status, run.started_at = StoreRun.Status.RUNNING, timezone.now()
    run.save(update_fields=["status", "started_at"])
    try:
        report = collect(policy_from_plain(run.policy), dry_run=run.dry_run)
    except Exception as error:
        run.status, run.error_message = StoreRun.Status.FAILED, f"{type(error).__name__}: {error}"[:2000]
        raise
    else:
        run.status, run.report = StoreRun.Status.FINISHED, report_to_plain(report)
    finally:
        run.finished_at = timezone.now()
        with transaction.atomic():
            run.save(update_fields=["status", "error_message", "report", "finished_at"])
            if not run.dry_run and run.status == StoreRun.Status.FINISHED:
                _audit(run)
            old = StoreRun.objects.order_by("-pk").values_list("pk", flat=True)[KEPT_RUNS : KEPT_RUNS * 2]
            StoreRun.objects.filter(pk__in=list(old)).delete()
    return report


def _audit(run: StoreRun) -> None:
    audit(
        "store.collect",
        actor=run.asked_by,
        object_type="store",
        object_id=run.uuid,
        source=run.source,
        details={"policy": run.policy, "report": run.report},
    )
