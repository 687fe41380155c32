"""Rollouts over the API: many branches from chosen steps, scored; started, watched, stopped, taken along."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Field, Router, Schema, Status

from runs.access import actor_of, credentials_of, session_for
from runs.api.schemas import Problem, Stopped
from runs.models import Rollout
from runs.replay.changes import Changes, changes_from_plain
from runs.replay.rollouts.reading import rollout_for
from runs.replay.rollouts.results import to_csv, to_plain
from runs.replay.rollouts.scorers import scorer_from_plain
from runs.replay.rollouts.starting import CannotRollOut, start_rollout, stop_rollout
from runs.services.config import InvalidConfig
from runs.services.config_check import check_config, config_from_outside

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
router = Router(tags=["rollouts"])


class NewRollout(Schema):
    """`steps`: branches start from the end of each (0: from the start of the node).

    `scorer` is one of `{"kind": "exact", "expected": "...", "loose": true}`, `{"kind": "contains", ...}` alike,
    `{"kind": "numeric", "expected": 4.2, "tolerance": 0.1}`, `{"kind": "regex", "pattern": "..."}`,
    `{"kind": "python", "source": "def score(answer, expected, question): ...", "expected": "..."}`,
    `{"kind": "judge", "rubric": "...", "expected": "..."}`.

    `changes`: what every branch does differently: `question`, `system_prompt`, `messages`, `variables`, `config`.
    """

    node: Number = 0
    steps: list[Number] = Field(min_length=1, max_length=1000)
    branches: int = Field(ge=1, le=64)
    scorer: dict[str, Any]
    changes: dict[str, Any] = {}
    max_cost_usd: float | None = Field(None, gt=0, le=1_000_000)


class RolloutLine(Schema):
    """`done` of `branches` are over, with a score or without."""

    uuid: UUID
    session: UUID
    node: int
    status: str
    steps: list[int]
    branches_per_step: int
    branches: int
    done: int
    created_at: Any

    @staticmethod
    def of(rollout: Rollout) -> RolloutLine:
        branches = rollout.branches.all()
        return RolloutLine(
            uuid=rollout.uuid,
            session=rollout.session.uuid,
            node=rollout.node_number,
            status=rollout.status,
            steps=rollout.steps,
            branches_per_step=rollout.branches_per_step,
            branches=branches.count(),
            done=branches.exclude(scored_at=None).count(),
            created_at=rollout.created_at,
        )


@router.post("/sessions/{uuid}/rollouts", response={201: RolloutLine, 404: Problem, 409: Problem, 422: Problem})
def create_rollout(request: HttpRequest, uuid: UUID, body: NewRollout) -> Status[RolloutLine]:
    """Start branches from the chosen steps. They run on the workers and are scored when they end."""
    session = session_for(request.user, uuid, "evaluate")
    changes = _changes(body.changes)
    if changes.config is not None:
        config = config_from_outside(changes.config)
        check_config(config, credentials_of(request.user).filter(team=session.team))
    rollout = start_rollout(
        actor=actor_of(request.user, "api"),
        session=session,
        node=body.node,
        steps=body.steps,
        branches=body.branches,
        scorer=scorer_from_plain(body.scorer),
        changes=changes,
        max_cost_usd=body.max_cost_usd,
    )
    return Status(201, RolloutLine.of(rollout))


@router.get("/sessions/{uuid}/rollouts", response={200: list[RolloutLine], 404: Problem})
def list_rollouts(request: HttpRequest, uuid: UUID) -> list[RolloutLine]:
    """Rollouts of a session, the newest hundred."""
    session = session_for(request.user, uuid)
    return [RolloutLine.of(rollout) for rollout in session.rollouts.select_related("session")[:100]]


@router.get("/rollouts/{uuid}", response={200: dict[str, Any], 404: Problem})
def get_rollout(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    """Shares of right branches per step with their 95 % Wilson intervals, the largest drop, and every branch."""
    return to_plain(rollout_for(request.user, uuid))


@router.get("/rollouts/{uuid}/branches", response={404: Problem})
def get_branches(request: HttpRequest, uuid: UUID, format: Literal["csv"] = "csv") -> HttpResponse:
    """One line for each branch, as CSV."""
    return HttpResponse(to_csv(rollout_for(request.user, uuid)), content_type="text/csv; charset=utf-8")


@router.post("/rollouts/{uuid}/stop", response={200: Stopped, 404: Problem})
def stop(request: HttpRequest, uuid: UUID) -> Stopped:
    """Stop the rollout with all of its branches. Idempotent."""
    rollout = rollout_for(request.user, uuid, "evaluate")
    return Stopped(stopped=stop_rollout(rollout, actor=actor_of(request.user, "api")))


def _changes(plain: dict[str, Any]) -> Changes:
    try:
        changes = changes_from_plain(plain)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"changes: {error}") from error
    if changes.reply is not None:
        # With the reply of the next step given, all branches of that step would begin alike.
        raise CannotRollOut("changes.reply: branches draw their replies; fork the session to give one.")
    return changes
