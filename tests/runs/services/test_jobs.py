"""Jobs: done once, taken over when their worker dies, stopped, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from runs.access import Actor
from runs.models import Job, OutboxMessage
from runs.services import jobs
from runs.services.jobs import JobRefused, JobRun, JobStopped, due_jobs, run_job, start_job, stop_job
from tests.factories import make_team

DEADLINE_S = 20
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kind() -> Iterator[Callable[[Callable[[JobRun], None]], str]]:
    """Registers a function as the kind `test` for the time of one test."""

    def register(function: Callable[[JobRun], None]) -> str:
        jobs.job_kind("test")(function)
        return "test"

    yield register
    jobs._kinds.pop("test", None)


def make_job(kind: str, **fields: Any) -> Job:
    job = start_job(kind, team=make_team(), actor=Actor(None, "test"), args={"n": 3})
    Job.objects.filter(pk=job.pk).update(**fields)
    return job


def test_a_job_is_done_once_however_often_it_is_delivered(kind: Any) -> None:
    done: list[int] = []
    job = make_job(kind(lambda run: done.append(run.args["n"])))
    run_job(job.uuid)
    run_job(job.uuid)
    job.refresh_from_db()
    assert done == [3]
    assert (job.status, job.lease_token) == (Job.Status.FINISHED, None)
    assert job.started_at is not None
    assert job.finished_at is not None


def test_a_job_that_cannot_be_done_says_why(kind: Any) -> None:
    def refuse(run: JobRun) -> None:
        raise JobRefused("choose another step")

    job = make_job(kind(refuse))
    run_job(job.uuid)
    job.refresh_from_db()
    assert (job.status, job.error_type, job.error_message) == ("failed", "JobRefused", "choose another step")


def test_a_fault_of_ours_ends_the_job_as_failed(kind: Any) -> None:
    job = make_job(kind(lambda run: run.args["missing"]))
    run_job(job.uuid)
    job.refresh_from_db()
    assert (job.status, job.error_type) == ("failed", "KeyError")


def test_a_job_whose_worker_died_is_due_and_goes_on_from_its_result(kind: Any) -> None:
    seen: list[dict[str, Any]] = []
    past = timezone.now() - timedelta(seconds=1)
    job = make_job(
        kind(lambda run: seen.append(run.job.result)), status="running", lease_expires_at=past, result={"kept": 2}
    )
    assert due_jobs(10, timedelta(minutes=1)) == [job.uuid]
    run_job(job.uuid)
    job.refresh_from_db()
    assert seen == [{"kept": 2}]
    assert (job.status, job.crashes) == ("finished", 1)


def test_a_job_that_kills_every_worker_is_given_up(kind: Any) -> None:
    past = timezone.now() - timedelta(seconds=1)
    job = make_job(kind(lambda run: None), status="running", lease_expires_at=past, crashes=jobs.MAX_CRASHES)
    run_job(job.uuid)
    job.refresh_from_db()
    assert job.status == "failed"
    assert "lost its worker" in job.error_message


def test_a_job_with_a_living_worker_is_left_to_it(kind: Any) -> None:
    done: list[int] = []
    soon = timezone.now() + timedelta(minutes=1)
    job = make_job(kind(lambda run: done.append(1)), status="running", lease_expires_at=soon)
    run_job(job.uuid)
    assert done == []
    assert due_jobs(10, timedelta()) == []


def test_nobody_came_for_a_new_job_so_it_is_due(kind: Any) -> None:
    job = make_job(kind(lambda run: None))
    assert due_jobs(10, timedelta(minutes=1)) == []
    assert due_jobs(10, timedelta(seconds=-1)) == [job.uuid]


def test_a_stopped_job_ends_at_its_next_look(kind: Any) -> None:
    begun, stopped = Event(), Event()
    ended: list[str] = []

    def work(run: JobRun) -> None:
        run.progress(1, 2, "half")
        begun.set()
        assert stopped.wait(DEADLINE_S)
        try:
            run.check()
        except JobStopped:
            ended.append("stopped")
            raise

    job = make_job(kind(work))

    def in_thread() -> None:
        run_job(job.uuid)
        connection.close()

    thread = Thread(target=in_thread)
    thread.start()
    assert begun.wait(DEADLINE_S)
    job.refresh_from_db()
    assert job.progress == {"done": 1, "total": 2, "text": "half"}
    assert stop_job(job, actor=Actor(None, "test")) is True
    stopped.set()
    thread.join(DEADLINE_S)
    job.refresh_from_db()
    assert (ended, job.status) == (["stopped"], "stopped")
    entry = AuditEntry.objects.get(action="job.stop")
    assert (entry.object_id, entry.details["kind"]) == (str(job.uuid), job.kind)
    assert stop_job(job, actor=Actor(None, "test")) is False


def test_what_a_lost_worker_writes_is_refused(kind: Any) -> None:
    def work(run: JobRun) -> None:
        Job.objects.filter(pk=run.job.pk).update(lease_token=None)
        with pytest.raises(JobStopped):
            run.save_result({"late": True})
        with pytest.raises(JobStopped):
            run.progress(1, 1)

    job = make_job(kind(work))
    run_job(job.uuid)
    job.refresh_from_db()
    assert (job.result, job.status) == ({}, "running")


def test_the_wake_up_is_written_in_the_transaction_of_the_job(kind: Any) -> None:
    name = kind(lambda run: None)
    with transaction.atomic():
        job = make_job(name)
        assert list(OutboxMessage.objects.filter(task=jobs.RUN_JOB).values_list("args", flat=True)) == [[str(job.uuid)]]
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.filter(task=jobs.RUN_JOB).exists()
    assert not Job.objects.exists()
