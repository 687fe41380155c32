"""Celery tasks: ids in, nothing out. The database decides what they do."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from runs.replay.archive import running as importing  # noqa: F401  # registers its kind of job
from runs.replay.reexecution import running  # noqa: F401  # registers its kind of job
from runs.replay.rollouts import keeping  # noqa: F401  # registers its kind of job
from runs.services import execution, jobs
from runs.services.dispatch import EXECUTE_STEP
from runs.store.running import COLLECT_GARBAGE, do_run


@shared_task(name=EXECUTE_STEP)
def execute_step(step_uuid: str) -> None:
    """Work on one step, if it is to be had. Idempotent: a second delivery finds it claimed."""
    execution.execute_step(UUID(step_uuid))


@shared_task(name=jobs.RUN_JOB)
def run_job(job_uuid: str) -> None:
    """Work on one job, if it is to be had. Idempotent, like `execute_step`."""
    jobs.run_job(UUID(job_uuid))


@shared_task(name=COLLECT_GARBAGE)
def collect_garbage(run_uuid: str) -> None:
    """Do one collection that was asked for. Idempotent: a second delivery finds it begun."""
    do_run(UUID(run_uuid))
