"""Rollouts over the API: started by those who may start sessions, read by the team, refused in one shape."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from runs.models import Rollout, Session
from runs.replay.rollouts.scorers import Exact
from tests.cast import SEES, SIGNED_IN, Cast
from tests.factories import make_user
from tests.runs.api.test_api import Caller
from tests.runs.replay.rollouts.test_rollouts import begin, keep, keep_until_over
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
EXACT = {"kind": "exact", "expected": "done"}
STARTS = ("researcher", "mate", "lead")


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)")


@pytest.fixture
def call(source: Session) -> Caller:
    return Caller(Cast(source.team, source, {"owner": source.created_by}), "owner")


def body(**changed: Any) -> dict[str, Any]:
    return {"steps": [1, 2], "branches": 2, "scorer": EXACT, **changed}


def test_branches_are_started_watched_and_taken_along(call: Caller, source: Session) -> None:
    started = call("POST", f"/sessions/{source.uuid}/rollouts", body(max_cost_usd=1.5))
    assert started.status_code == 201
    line = started.json()
    assert (line["branches"], line["done"], line["status"]) == (4, 0, "running")
    keep_until_over(Rollout.objects.get())
    assert call("GET", f"/sessions/{source.uuid}/rollouts").json()[0]["done"] == 4
    found = call("GET", f"/rollouts/{line['uuid']}").json()
    assert [(each["step"], each["right"], each["scored"]) for each in found["steps"]] == [(1, 2, 2), (2, 2, 2)]
    assert (found["max_cost_usd"], found["cost_usd"], found["error"]) == (1.5, 0.0, "")
    table = call("GET", f"/rollouts/{line['uuid']}/branches?format=csv")
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert [(row["step"], row["branch"], row["right"]) for row in rows] == [
        ("1", "1", "True"),
        ("1", "2", "True"),
        ("2", "1", "True"),
        ("2", "2", "True"),
    ]


def test_what_every_branch_changes_reaches_the_branches(call: Caller, source: Session) -> None:
    config = {**source.config, "root": {**source.config["root"], "sampling": {"temperature": 1.1}}}
    changes = {"question": "And now?", "config": config}
    assert call("POST", f"/sessions/{source.uuid}/rollouts", body(steps=[1], changes=changes)).status_code == 201
    keep()
    for branch in Session.objects.filter(hidden=True):
        assert branch.question == "And now?"
        assert branch.config["root"]["sampling"]["temperature"] == 1.1


@pytest.mark.parametrize(
    ("changed", "kind", "says"),
    [
        ({"steps": []}, "invalid_request", "steps"),
        ({"branches": 65}, "invalid_request", "branches"),
        ({"max_cost_usd": 0}, "invalid_request", "max_cost_usd"),
        ({"max_cost_usd": "nan"}, "invalid_request", "max_cost_usd"),
        ({"steps": [9]}, "invalid_rollout", "no finished step 9"),
        ({"node": 4}, "invalid_rollout", "no node 4"),
        ({"scorer": {"kind": "magic"}}, "invalid_rollout", "scorer"),
        ({"scorer": {"kind": "judge", "rubric": " "}}, "invalid_rollout", "rubric"),
        ({"changes": {"config": {"root": 1}}}, "invalid_config", "root"),
        ({"changes": {"variables": "x"}}, "invalid_config", "variables"),
        ({"changes": {"reply": "FINAL(1)"}}, "invalid_rollout", "reply"),
        (
            {"changes": {"config": {"root": {"api": "openai", "model": "m", "credential": "x"}}}},
            "invalid_config",
            "key",
        ),
    ],
)
def test_refusals_have_one_shape_and_start_nothing(
    call: Caller, source: Session, changed: dict[str, Any], kind: str, says: str
) -> None:
    response = call("POST", f"/sessions/{source.uuid}/rollouts", body(**changed))
    assert (response.status_code, response.json()["type"]) == (422, kind)
    assert says in response.json()["message"]
    assert not Rollout.objects.exists()


def test_who_may_what(source: Session) -> None:
    cast = Cast(source.team, source, {name: make_user(source.team, name) for name in ("viewer", "lead", "auditor")})
    cast.people["stranger"] = make_user()
    rollout = begin(source, [1], 1, Exact("done"))
    reads = (f"/rollouts/{rollout.uuid}", f"/rollouts/{rollout.uuid}/branches", f"/sessions/{source.uuid}/rollouts")
    for name in cast.people:
        assert name in SIGNED_IN or name == "stranger"
        caller = Caller(cast, name)
        for address in reads:
            assert caller("GET", address).status_code == (200 if name in SEES else 404), (name, address)
        started = caller("POST", f"/sessions/{source.uuid}/rollouts", body()).status_code
        assert started == (201 if name in STARTS else 404)
        stopped = caller("POST", f"/rollouts/{rollout.uuid}/stop").status_code
        assert stopped == (200 if name in STARTS else 404)


def test_stopping_is_said_once(call: Caller, source: Session) -> None:
    rollout = begin(source, [1], 2, Exact("done"))
    keep()
    assert call("POST", f"/rollouts/{rollout.uuid}/stop").json() == {"stopped": True}
    assert call("POST", f"/rollouts/{rollout.uuid}/stop").json() == {"stopped": False}
    assert set(Session.objects.filter(hidden=True).values_list("status", flat=True)) == {"stopped"}
