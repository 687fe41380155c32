"""Jobs: longer work beside sessions, done by the workers, started again when a worker dies.

A kind of job is a function registered with `@job_kind`. It gets a `JobRun`, goes on from what is on record, and calls
`run.check()` often: that is where a stopped or lost job ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from runs.access import Actor, may_go_on
from runs.models import Job, Session
from runs.services.dispatch import send_on_commit
from runs.services.leases import LEASE_S, job_leases

logger = logging.getLogger(__name__)

RUN_JOB = "runs.run_job"
LEASE = timedelta(seconds=LEASE_S)
MAX_CRASHES = 5
"""Times a job may lose its worker before it is taken for the cause."""

_kinds: dict[str, Callable[[JobRun], None]] = {}


class JobStopped(Exception):
    """Somebody stopped the job, or another worker has it."""


class JobRefused(Exception):
    """The job cannot be done; the message says why and what to do. Ends it as failed."""


@dataclass(slots=True)
class JobRun:
    """A claimed job in the hands of its function."""

    job: Job
    token: UUID
    _lost: Event

    @property
    def args(self) -> dict[str, Any]:
        args: dict[str, Any] = self.job.args
        return args

    def check(self) -> None:
        """Raises `JobStopped` when the job is not ours any more."""
        if self._lost.is_set() or not self._mine().exists():
            raise JobStopped(str(self.job.uuid))

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Tell those who watch. Raises `JobStopped`."""
        if not self._mine().update(progress={"done": done, "total": total, "text": text}):
            raise JobStopped(str(self.job.uuid))

    def save_result(self, result: dict[str, Any]) -> None:
        """Keep what is known so far; a worker that takes over finds it in `job.result`. Raises `JobStopped`."""
        self.job.result = result
        if not self._mine().update(result=result):
            raise JobStopped(str(self.job.uuid))

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, lease_token=self.token, status=Job.Status.RUNNING)


def job_kind(kind: str) -> Callable[[Callable[[JobRun], None]], Callable[[JobRun], None]]:
    """Register the function that does jobs of `kind`. Its module is imported by `runs.tasks`, so that workers know it."""

    def register(function: Callable[[JobRun], None]) -> Callable[[JobRun], None]:
        _kinds[kind] = function
        return function

    return register


def start_job(kind: str, *, team: Team, actor: Actor, args: dict[str, Any], session: Session | None = None) -> Job:
    """Record the job and have it done after the running transaction commits."""
    with transaction.atomic():
        job = Job.objects.create(kind=kind, team=team, session=session, created_by=actor.user, args=args)
        send_on_commit(RUN_JOB, [[str(job.uuid)]])
    return job


@transaction.atomic
def stop_job(job: Job, *, actor: Actor) -> bool:
    """Idempotent; False when it was over already."""
    stopped = Job.objects.filter(pk=job.pk, status__in=(Job.Status.READY, Job.Status.RUNNING)).update(
        status=Job.Status.STOPPED, lease_token=None, lease_expires_at=None, finished_at=timezone.now()
    )
    if stopped:
        audit(
            "job.stop",
            actor=actor.name,
            object_type="job",
            object_id=job.uuid,
            team_uuid=job.team.uuid,
            source=actor.source,
            details={"kind": job.kind},
        )
    return bool(stopped)


def run_job(uuid: UUID) -> None:
    """Claim the job and do it. Nothing to do when it is not to be had."""
    token = uuid4()
    if not _claim(uuid, token):
        return
    lost = Event()
    job_leases.hold(token, lost.set)
    try:
        job = Job.objects.select_related("session__team", "session__context", "team", "created_by").get(uuid=uuid)
        if job.crashes > MAX_CRASHES:
            raise JobRefused(f"the job lost its worker {job.crashes} times and is not tried again")
        if not may_go_on(job.created_by_id, job.team):
            raise JobRefused("who started this may not run sessions in its team any more")
        _kinds[job.kind](JobRun(job, token, lost))
        _end(uuid, token, Job.Status.FINISHED)
    except JobStopped:
        logger.info("job left", extra={"job": str(uuid)})
    except JobRefused as error:
        _end(uuid, token, Job.Status.FAILED, error)
    except Exception as error:
        logger.exception("job failed", extra={"job": str(uuid)})
        _end(uuid, token, Job.Status.FAILED, error)
    finally:
        job_leases.release(token)


def due_jobs(batch: int, ready_age: timedelta) -> list[UUID]:
    """Jobs whose worker's lease ran out, and those that nobody came for."""
    due = Q(status=Job.Status.RUNNING, lease_expires_at__lt=Now()) | Q(
        status=Job.Status.READY, created_at__lt=Now() - ready_age
    )
    return list(Job.objects.filter(due).values_list("uuid", flat=True)[:batch])


def _claim(uuid: UUID, token: UUID) -> bool:
    taken = {"status": Job.Status.RUNNING, "lease_token": token, "lease_expires_at": Now() + LEASE}
    jobs = Job.objects.filter(uuid=uuid)
    if jobs.filter(status=Job.Status.READY).update(started_at=Now(), **taken):
        return True
    expired = jobs.filter(status=Job.Status.RUNNING, lease_expires_at__lt=Now())
    return bool(expired.update(crashes=F("crashes") + 1, **taken))


def _end(uuid: UUID, token: UUID, status: str, error: Exception | None = None) -> None:
    Job.objects.filter(uuid=uuid, lease_token=token).update(
        status=status,
        error_type=type(error).__name__ if error else "",
        error_message=str(error)[:4000] if error else "",
        lease_token=None,
        lease_expires_at=None,
        finished_at=timezone.now(),
    )
