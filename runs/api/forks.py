"""Forks, lineage and re-executions over the API."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import Http404, HttpRequest
from ninja import Field, Router, Schema, Status

from runs.access import actor_of, credentials_of, session_for, sessions_of
from runs.api.schemas import Problem, SessionOut, Stopped
from runs.models import Job
from runs.replay.changes import Changes, changes_from_plain
from runs.replay.forks import CannotFork, fork_session
from runs.replay.forks.lineage import lineage_of
from runs.replay.origin import origin_to_plain
from runs.replay.reexecution.running import REEXECUTE, start_reexecution
from runs.services.config import config_to_plain
from runs.services.config_check import check_config, config_from_outside
from runs.services.jobs import stop_job

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
router = Router(tags=["replay"])


class NewFork(Schema):
    """The fork goes on from the end of `step` (0: before the first) of `node`.

    `changes`: any of `reply`, `question`, `system_prompt`, `messages` (`{"3": "..."}` by position), `variables`
    (`[{"name": "x", "expression": "[1, 2]"}]`; with `"kind": "json"` or `"text"` the expression is JSON or the text itself,
    with `"delete"` the variable goes), `config` (a whole one, as sessions are started with).
    """

    node: Number = 0
    step: Number
    changes: dict[str, Any] = {}
    title: str = Field("", max_length=200)


class Relation(Schema):
    """One session of the family; `origin` says what it was forked from and what it changed."""

    uuid: UUID
    title: str
    status: str
    answer: str | None
    cost_micro_usd: int
    level: int
    origin: dict[str, Any] | None


class NewReexecution(Schema):
    """The whole session, or `node` with or without its `subtree`, or its steps after `after` up to `upto`."""

    node: Number | None = None
    subtree: bool = True
    after: Number = 0
    upto: Number | None = None
    freeze_time: bool = False
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


class ReexecutionOut(Schema):
    """`result` has `verdict` (`identical`, `diverged`, `incomplete`), `first` and the report of every step."""

    uuid: UUID
    session: UUID
    status: str
    progress: dict[str, Any]
    result: dict[str, Any]
    error: str

    @staticmethod
    def of(job: Job) -> ReexecutionOut:
        assert job.session is not None
        return ReexecutionOut(
            uuid=job.uuid,
            session=job.session.uuid,
            status=job.status,
            progress=job.progress,
            result=job.result,
            error=job.error_message,
        )


@router.post("/sessions/{uuid}/forks", response={201: SessionOut, 404: Problem, 409: Problem, 422: Problem})
def create_fork(request: HttpRequest, uuid: UUID, body: NewFork) -> Status[SessionOut]:
    """Fork the session. The new one runs on the workers like any other."""
    source = session_for(request.user, uuid, "evaluate")
    changes = _changes(body.changes)
    if changes.config is not None:
        config = config_from_outside(changes.config)
        check_config(config, credentials_of(request.user).filter(team=source.team))
        changes = msgspec.structs.replace(changes, config=config_to_plain(config))
    session = fork_session(
        actor=actor_of(request.user, "api"),
        team=source.team,
        source=source,
        node=body.node,
        step=body.step,
        changes=changes,
        title=body.title,
    )
    return Status(201, SessionOut.of(session_for(request.user, session.uuid)))


@router.get("/sessions/{uuid}/lineage", response={200: list[Relation], 404: Problem})
def get_lineage(request: HttpRequest, uuid: UUID) -> list[Relation]:
    """The family of the session, as far as you may see it, parents before children."""
    session = session_for(request.user, uuid)
    return [
        Relation(
            uuid=each.session.uuid,
            title=each.session.title,
            status=each.session.status,
            answer=each.session.answer,
            cost_micro_usd=each.session.meter.cost_micro_usd,
            level=each.level,
            origin=origin_to_plain(each.origin) if each.origin is not None else None,
        )
        for each in lineage_of(session, sessions_of(request.user))
    ]


@router.post("/sessions/{uuid}/reexecutions", response={201: ReexecutionOut, 404: Problem, 422: Problem})
def create_reexecution(request: HttpRequest, uuid: UUID, body: NewReexecution) -> Status[ReexecutionOut]:
    """Execute recorded code again with the recorded replies, and compare. No model is asked."""
    session = session_for(request.user, uuid, "evaluate")
    job = start_reexecution(actor=actor_of(request.user, "api"), session=session, **body.dict())
    return Status(201, ReexecutionOut.of(job))


@router.get("/reexecutions/{uuid}", response={200: ReexecutionOut, 404: Problem})
def get_reexecution(request: HttpRequest, uuid: UUID) -> ReexecutionOut:
    return ReexecutionOut.of(_job_for(request, uuid))


@router.post("/reexecutions/{uuid}/stop", response={200: Stopped, 404: Problem})
def stop_reexecution(request: HttpRequest, uuid: UUID) -> Stopped:
    job = _job_for(request, uuid)
    assert job.session is not None
    session_for(request.user, job.session.uuid, "evaluate")
    return Stopped(stopped=stop_job(job, actor=actor_of(request.user, "api")))


def _job_for(request: HttpRequest, uuid: UUID) -> Job:
    job = Job.objects.select_related("session").filter(uuid=uuid, kind=REEXECUTE).first()
    if job is None or job.session is None:
        raise Http404
    session_for(request.user, job.session.uuid)
    return job


def _changes(plain: dict[str, Any]) -> Changes:
    """Raises `CannotFork` that names the field."""
    try:
        return changes_from_plain(plain)
    except msgspec.ValidationError as error:
        raise CannotFork(f"The changes are not valid: {error}") from error
