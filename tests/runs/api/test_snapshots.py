"""Snapshots over the API: read by the team, evaluated by those who may start, refused in one shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runs.models import Session
from runs.replay.inspect import evaluation
from runs.replay.inspect.slots import Slots
from sandboxes.models import Snapshot
from tests.cast import SEES, SIGNED_IN, Cast, make_cast
from tests.runs.api.test_api import Caller
from tests.runs.services.test_snapshots import run_cells
from tests.snapshotted import make_node, make_snapshot, variable

STEP = "/sessions/{}/nodes/0/steps/{}"


@pytest.fixture
def cast() -> Cast:
    cast = make_cast()
    node = make_node(cast.session, steps=3)
    make_snapshot(node, 1, [variable("rows", [1]), variable("gone", 1)])
    make_snapshot(node, 2, [variable("rows", [1, 2])])
    return cast


def path(session: Session, step: int, more: str) -> str:
    return STEP.format(session.uuid, step) + more


@pytest.mark.django_db
@pytest.mark.parametrize("name", SIGNED_IN)
def test_states_are_read_by_the_team(cast: Cast, name: str) -> None:
    call, node = Caller(cast, name), f"/sessions/{cast.session.uuid}/nodes/0"
    for address in (f"{node}/snapshots", f"{node}/steps/1/snapshot", f"{node}/variables/timeline?name=rows"):
        assert call("GET", address).status_code == (200 if name in SEES else 404)
    for more in ("/evaluate", "/difference", "/download"):
        body = {"code": "1", "name": "rows", "form": "json"}
        if name not in ("researcher", "mate", "lead"):
            assert call("POST", path(cast.session, 1, more), body).status_code == 404


@pytest.mark.django_db
def test_a_state_says_what_changed(cast: Cast) -> None:
    call = Caller(cast, "viewer")
    state = call("GET", path(cast.session, 2, "/snapshot")).json()
    assert [(row["name"], row["change"]) for row in state["variables"]] == [("rows", "changed"), ("gone", "deleted")]
    assert (state["compared_with_step"], state["problem"]) == (1, "")
    assert state["snapshot"]["uuid"] == str(Snapshot.objects.get(step_number=2).uuid)
    points = call("GET", f"/sessions/{cast.session.uuid}/nodes/0/variables/timeline?name=gone").json()
    assert [(point["step"], point["state"]) for point in points] == [(1, "added"), (2, "deleted")]
    listed = call("GET", f"/sessions/{cast.session.uuid}/nodes/0/snapshots").json()
    assert [each["step"] for each in listed] == [1, 2]
    missing = call("GET", path(cast.session, 3, "/snapshot")).json()
    assert missing["snapshot"] is None
    assert missing["problem"]
    assert missing["way_out"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("step", "more", "body", "status", "kind"),
    [
        (3, "/evaluate", {"code": "1"}, 409, "snapshot_unusable"),
        (9, "/evaluate", {"code": "1"}, 404, "not_found"),
        (1, "/evaluate", {"code": " "}, 422, "invalid_request"),
        (1, "/evaluate", {"code": "1", "timeout_s": 31}, 422, "invalid_request"),
        (1, "/evaluate", {"code": "1", "timeout_s": "nan"}, 422, "invalid_request"),
        (2, "/difference", {"name": "nope"}, 404, "variable_absent"),
        (2, "/difference", {"name": "gone"}, 404, "variable_absent"),
        (1, "/difference", {"name": "rows"}, 422, "invalid_request"),
        (1, "/download", {"name": "rows", "form": "exe"}, 422, "invalid_request"),
        (1, "/download", {"name": "x" * 201, "form": "json"}, 422, "invalid_request"),
    ],
)
def test_refusals_have_one_shape(
    cast: Cast, step: int, more: str, body: dict[str, Any], status: int, kind: str
) -> None:
    response = Caller(cast, "mate")("POST", path(cast.session, step, more), body)
    assert (response.status_code, response.json()["type"]) == (status, kind)


@pytest.mark.django_db
def test_too_much_at_once_is_refused_with_the_time_to_wait(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(per_minute=1)
    monkeypatch.setattr(evaluation, "slots", slots)
    with slots.taken(cast.people["mate"].pk):
        pass
    response = Caller(cast, "mate")("POST", path(cast.session, 1, "/evaluate"), {"code": "1"})
    assert (response.status_code, response.json()["type"]) == (429, "too_many_evaluations")
    assert "Try again in" in response.json()["hint"]


def streamed(response: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    try:
        return asyncio.run(collect())
    finally:
        response.close()


@pytest.mark.django_db(transaction=True)
def test_a_session_that_ran_is_evaluated_compared_and_downloaded() -> None:
    session = run_cells("x = [1, 2]", "x.append(3)")
    call = Caller(Cast(session.team, session, {"owner": session.created_by}), "owner")
    said = call("POST", path(session, 2, "/evaluate"), {"code": "sum(x)"}).json()
    assert (said["status"], said["value"], said["way"]) == ("ok", "6", "scratch")
    found = call("POST", path(session, 2, "/difference"), {"name": "x"}).json()
    assert {"path": "[2]", "what": "added", "before": None, "after": "3", "lines": []} in found["entries"]
    response = call("POST", path(session, 2, "/download"), {"name": "x", "form": "json"})
    assert response["Content-Disposition"] == 'attachment; filename="x-node0-step2.json"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert json.loads(streamed(response)) == [1, 2, 3]
    # One that nobody reads to its end leaves nothing open.
    call("POST", path(session, 2, "/download"), {"name": "x", "form": "csv"}).close()
