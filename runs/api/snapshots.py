"""Snapshots over the API: what a step left behind, one variable over the steps, expressions, differences, downloads."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from ninja import Field, Router, Schema

from runs.access import actor_of, session_for
from runs.api.schemas import Problem
from runs.replay.inspect.differences import Difference, difference
from runs.replay.inspect.downloads import Form, download
from runs.replay.inspect.evaluation import DEFAULT_TIMEOUT_S, MAX_CODE_CHARS, MAX_TIMEOUT_S, evaluate
from runs.replay.inspect.responses import download_response
from runs.replay.inspect.states import NoSuchStep, StepState, step_state, usable_state, variable_timeline
from runs.services.snapshots.reading import snapshots_of
from runs.text import scrub
from sandboxes.models import Snapshot

NodeNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
PROBLEMS = {404: Problem, 409: Problem, 422: Problem, 429: Problem, 502: Problem, 503: Problem}
router = Router(tags=["snapshots"])


class SnapshotOut(Schema):
    uuid: UUID
    node: int
    step: int
    kind: str
    holds: list[str]
    dropped: list[dict[str, str]]
    size_bytes: int
    stored_bytes: int
    python: str
    pinned: bool
    created_at: Any
    expires_at: Any
    collected_at: Any

    @staticmethod
    def of(snapshot: Snapshot, node: int) -> SnapshotOut:
        fields = {name: getattr(snapshot, name) for name in SnapshotOut.model_fields if name not in ("node", "step")}
        return SnapshotOut(**fields, node=node, step=snapshot.step_number)


class VariableOut(Schema):
    """`change` since the node's snapshot before: `added`, `changed`, `deleted`, `unchanged`, `unsure`."""

    name: str
    type: str
    size: str
    preview: str
    size_bytes: int
    change: str
    held: bool
    reason: str
    shares: list[str]


class FileOut(Schema):
    path: str
    kind: str
    size_bytes: int
    target: str


class StateOut(Schema):
    """Without `snapshot`, or when it cannot be read, `problem` says why and `way_out` what to do."""

    node: int
    step: int
    snapshot: SnapshotOut | None
    compared_with_step: int | None
    variables: list[VariableOut]
    files: list[FileOut]
    problem: str
    way_out: str

    @staticmethod
    def of(state: StepState) -> StateOut:
        return StateOut(
            node=state.node.number,
            step=state.step.number,
            snapshot=SnapshotOut.of(state.snapshot, state.node.number) if state.snapshot is not None else None,
            compared_with_step=state.before.step_number if state.before is not None else None,
            variables=[VariableOut.from_orm(row) for row in state.rows],
            files=[FileOut.from_orm(file) for file in state.manifest.files] if state.manifest is not None else [],
            problem=state.problem,
            way_out=state.way_out,
        )


class PointOut(Schema):
    """`state`: `absent`, `added`, `changed`, `same`, `deleted`, `not held`, `unsure`, `unreadable`."""

    step: int
    state: str
    type: str
    size: str
    preview: str
    size_bytes: int
    problem: str


class Code(Schema):
    code: str = Field(max_length=MAX_CODE_CHARS)
    timeout_s: float = Field(DEFAULT_TIMEOUT_S, gt=0, le=MAX_TIMEOUT_S)


class RaisedOut(Schema):
    type: str
    message: str
    traceback: str = ""


class EvaluationOut(Schema):
    """`status`: `ok`, `error`, `timeout`, `killed`. `way`: `live` or `scratch`. `value` is a repr."""

    status: str
    value: str | None
    output: str
    output_bytes: int
    error: RaisedOut | None
    duration_ms: float
    total_ms: float
    way: Literal["live", "scratch"]


class VariableName(Schema):
    name: Name


class EntryOut(Schema):
    path: str
    what: str
    before: str | None
    after: str | None
    lines: list[str]


class DifferenceOut(Schema):
    """`cut`: there are more differences than these."""

    entries: list[EntryOut]
    cut: bool

    @staticmethod
    def of(found: Difference) -> DifferenceOut:
        return DifferenceOut(entries=[EntryOut.from_orm(entry) for entry in found.entries], cut=found.cut)


class Wanted(Schema):
    name: Name
    form: Form


@router.get("/{uuid}/nodes/{node}/snapshots", response={200: list[SnapshotOut], 404: Problem})
def list_snapshots(request: HttpRequest, uuid: UUID, node: NodeNumber) -> list[SnapshotOut]:
    """Snapshots of a node, by step."""
    session = session_for(request.user, uuid)
    return [SnapshotOut.of(snapshot, node) for snapshot in snapshots_of(session, node)]


@router.get("/{uuid}/nodes/{node}/steps/{step}/snapshot", response={200: StateOut, 404: Problem})
def get_state(request: HttpRequest, uuid: UUID, node: NodeNumber, step: NodeNumber) -> StateOut:
    """The variables and files after a step, and what changed since the step before. Runs nothing."""
    try:
        return StateOut.of(step_state(session_for(request.user, uuid), node, step))
    except NoSuchStep:
        raise Http404 from None


@router.get("/{uuid}/nodes/{node}/variables/timeline", response={200: list[PointOut], 404: Problem})
def get_timeline(request: HttpRequest, uuid: UUID, node: NodeNumber, name: Name) -> list[PointOut]:
    """One variable over the steps of a node that have a snapshot (the newest 500). Runs nothing."""
    points = variable_timeline(session_for(request.user, uuid), node, name)
    return [PointOut.from_orm(point) for point in points]


@router.post("/{uuid}/nodes/{node}/steps/{step}/evaluate", response={200: EvaluationOut, **PROBLEMS})
def evaluate_code(
    request: HttpRequest, uuid: UUID, node: NodeNumber, step: NodeNumber, body: Code
) -> dict[str, object]:
    """Run code in a throw-away copy of the state after a step. Changes nothing of the session."""
    state = _state(request, uuid, node, step)
    actor = actor_of(request.user, "api")
    return evaluate(state, scrub(body.code), actor=actor, timeout_s=body.timeout_s).to_plain()


@router.post("/{uuid}/nodes/{node}/steps/{step}/difference", response={200: DifferenceOut, **PROBLEMS})
def get_difference(
    request: HttpRequest, uuid: UUID, node: NodeNumber, step: NodeNumber, body: VariableName
) -> DifferenceOut:
    """What changed in a variable since the node's snapshot before, by element."""
    state = _state(request, uuid, node, step)
    return DifferenceOut.of(difference(state, body.name, actor=actor_of(request.user, "api")))


@router.post("/{uuid}/nodes/{node}/steps/{step}/download", response={200: None, **PROBLEMS})
def download_variable(
    request: HttpRequest, uuid: UUID, node: NodeNumber, step: NodeNumber, body: Wanted
) -> HttpResponseBase:
    """A variable as a file: `json`, `csv`, `npy`, `parquet`, or `raw` text or bytes. At most 200 MB."""
    state = _state(request, uuid, node, step)
    return download_response(download(state, body.name, body.form, actor=actor_of(request.user, "api")))


def _state(request: HttpRequest, uuid: UUID, node: int, step: int) -> StepState:
    try:
        return usable_state(session_for(request.user, uuid, "evaluate"), node, step)
    except NoSuchStep:
        raise Http404 from None
