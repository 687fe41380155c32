"""The pages of rollouts: start, look, stop, take along."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse

from rlmweb.teams.models import Role
from runs.models import LmCall, Rollout, RolloutBranch, Session
from runs.replay.rollouts.scorers import Exact
from tests.factories import make_user
from tests.runs.replay.rollouts.test_rollouts import begin, keep, keep_until_over
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)")


def new_url(session: Session, query: str = "?node=0&step=1") -> str:
    return reverse("runs:rollout_new", args=[session.uuid]) + query


def test_the_form_offers_the_steps_with_a_snapshot_and_has_the_asked_one_chosen(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    response = client.get(new_url(source))
    assert response.status_code == 200
    assert response.context["form"]["steps"].value() == ["1"]
    assert [value for value, _ in response.context["form"].fields["steps"].choices] == ["0", "1", "2", "3"]


def test_branches_are_started_shown_and_exported(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    form = {"steps": ["1", "2"], "branches": 2, "kind": "exact", "expected": "done"}
    response = client.post(new_url(source), form)
    rollout = Rollout.objects.get()
    assert response.status_code == 302
    assert response.url == reverse("runs:rollout", args=[rollout.uuid])
    waiting = client.get(response.url).content.decode()
    assert "0 of 4 branches scored" in waiting
    assert "data-refresh-ms" in waiting
    keep_until_over(rollout)
    page = client.get(response.url).content.decode()
    assert "4 of 4 branches scored" in page
    assert "data-refresh-ms" not in page
    assert page.count("2 of 2") >= 2
    assert "<svg" in page
    exported = client.get(reverse("runs:rollout_export", args=[rollout.uuid, "json"]))
    assert exported["Content-Disposition"].startswith("attachment")
    assert [each["right"] for each in json.loads(exported.content)["steps"]] == [2, 2]
    table = client.get(reverse("runs:rollout_export", args=[rollout.uuid, "csv"])).content.decode()
    assert table.splitlines()[0].startswith("step,branch,status,score")
    assert client.get(reverse("runs:rollout_export", args=[rollout.uuid, "xml"])).status_code == 404


def test_the_figure_is_for_those_who_see_the_session(client: Any, source: Session) -> None:
    rollout = begin(source, [1], 1, Exact("done"))
    keep_until_over(rollout)
    address = reverse("runs:rollout_figure", args=[rollout.uuid])
    client.force_login(source.created_by)
    assert client.get(address).json()["data"][0]["y"] == [1.0]
    client.force_login(make_user(source.team, role=Role.VIEWER))
    assert client.get(address).status_code == 200
    client.force_login(make_user())
    assert client.get(address).status_code == 404


def test_the_form_says_what_the_session_spent_after_each_step(client: Any, source: Session) -> None:
    LmCall.objects.filter(session=source).update(cost_micro_usd=2_000_000)
    client.force_login(source.created_by)
    response = client.get(new_url(source))
    words = [words for _, words in response.context["form"].fields["steps"].choices]
    assert words == [
        "before the first step, what followed cost $6.00",
        "step 1, what followed cost $4.00",
        "step 2, what followed cost $2.00",
        "step 3",
    ]
    assert json.loads(response.context["rests"]) == {"0": 6_000_000, "1": 4_000_000, "2": 2_000_000, "3": 0}
    LmCall.objects.filter(session=source, step__number=3).update(cost_micro_usd=None)
    page = client.get(new_url(source)).content.decode()
    assert "step 1, what followed cost at least $2.00" in page
    assert "no known price" in page


def test_temperature_and_limit_reach_the_branches(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    form = {"steps": ["1"], "branches": 1, "kind": "exact", "expected": "done", "temperature": 0.9, "max_cost_usd": 2}
    assert client.post(new_url(source), form).status_code == 302
    rollout = Rollout.objects.get()
    assert rollout.max_cost_usd == 2.0
    keep()
    branch = Session.objects.get(hidden=True)
    assert branch.config["root"]["sampling"]["temperature"] == 0.9
    assert branch.config["limits"]["max_cost_usd"] == 2.0
    page = client.get(reverse("runs:rollout", args=[rollout.uuid])).content.decode()
    assert "root.sampling.temperature" in page
    assert f"?a={source.uuid}&amp;b={branch.uuid}" in page


def test_the_drop_is_marked_in_the_chart_and_on_the_page_of_the_session(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    address = reverse("runs:session_rollouts", args=[source.uuid])
    assert client.get(address).json() == {"nodes": {}, "running": False}
    assert "data-rollouts" not in client.get(reverse("runs:session", args=[source.uuid])).content.decode()
    rollout = begin(source, [1, 2], 2, Exact("done"))
    assert client.get(address).json()["running"] is True
    keep_until_over(rollout)
    RolloutBranch.objects.filter(step_number=2).update(score=0.0)
    assert f'data-rollouts="{address}"' in client.get(reverse("runs:session", args=[source.uuid])).content.decode()
    page = client.get(reverse("runs:rollout", args=[rollout.uuid])).content.decode()
    assert 'class="share drop"' in page
    assert "during step 2" in page
    shares = client.get(address).json()["nodes"]["0"]
    assert [(each["step"], each["share"], each["drop"]) for each in shares] == [(1, 1.0, False), (2, 0.0, True)]
    # Of a step the newest rollout is shown.
    keep_until_over(begin(source, [2], 1, Exact("done")))
    assert [(each["step"], each["share"]) for each in client.get(address).json()["nodes"]["0"]] == [(1, 1.0), (2, 1.0)]
    client.force_login(make_user())
    assert client.get(address).status_code == 404


def test_only_the_part_that_changes_is_sent_to_a_page_that_asks_again(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    rollout = begin(source, [1], 1, Exact("done"))
    part = client.get(reverse("runs:rollout", args=[rollout.uuid]), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="rollout"')
    assert "<html" not in part


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"branches": 2, "kind": "exact", "expected": "x"}, "at least one step"),
        ({"steps": ["1"], "branches": 65, "kind": "exact", "expected": "x"}, "less than or equal to 64"),
        ({"steps": ["1"], "branches": 2, "kind": "exact", "expected": " "}, "which answer"),
        ({"steps": ["1"], "branches": 2, "kind": "numeric", "expected": "many"}, "is not a number"),
        ({"steps": ["1"], "branches": 2, "kind": "regex", "pattern": "("}, "regular expression"),
        ({"steps": ["1"], "branches": 2, "kind": "python", "source": "x ="}, "not valid Python"),
    ],
)
def test_what_is_wrong_is_said_and_the_input_is_kept(
    client: Any, source: Session, form: dict[str, Any], message: str
) -> None:
    client.force_login(source.created_by)
    response = client.post(new_url(source), form)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert not Rollout.objects.exists()


def test_stopping_ends_the_branches(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    rollout = begin(source, [1], 2, Exact("done"))
    keep()
    response = client.post(reverse("runs:rollout_stop", args=[rollout.uuid]))
    assert response.status_code == 302
    rollout.refresh_from_db()
    assert rollout.status == "stopped"
    assert set(Session.objects.filter(hidden=True).values_list("status", flat=True)) == {"stopped"}


def test_branches_are_not_in_the_list_of_sessions(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    begin(source, [1], 2, Exact("done"))
    keep()
    page = client.get(reverse("runs:session_list")).content.decode()
    assert page.count(str(source.uuid)) >= 1
    assert "branch 1" not in page


def test_who_sees_and_who_starts(client: Any, source: Session) -> None:
    rollout = begin(source, [1], 1, Exact("done"))
    viewer = make_user(source.team, role=Role.VIEWER)
    stranger = make_user()
    client.force_login(viewer)
    assert client.get(reverse("runs:rollout", args=[rollout.uuid])).status_code == 200
    assert client.get(new_url(source)).status_code == 404
    assert client.post(reverse("runs:rollout_stop", args=[rollout.uuid])).status_code == 404
    client.force_login(stranger)
    for name, arguments in (("rollout", []), ("rollout_stop", []), ("rollout_export", ["json"])):
        url = reverse(f"runs:{name}", args=[rollout.uuid, *arguments])
        response = client.post(url) if name == "rollout_stop" else client.get(url)
        assert response.status_code == 404, name
