"""Forks, lineage and re-executions over the API."""

from __future__ import annotations

from typing import Any

import pytest

from rlmweb.teams.models import Role
from runs.models import Job, Session
from runs.replay.reexecution import running  # noqa: F401  # registers its kind of job
from runs.services.jobs import run_job
from tests.factories import make_user
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)\nprint(x)")


def test_a_fork_is_made_and_found_in_the_lineage(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    body = {
        "step": 1,
        "title": "from the API",
        "changes": {"reply": "```repl\nanswer['content'] = repr(x + [y])\nanswer['ready'] = True\n```"},
    }
    body["changes"] |= {"variables": [{"name": "y", "expression": "7"}]}  # type: ignore[operator]
    response = client.post(f"/api/v1/sessions/{source.uuid}/forks", body, JSON)
    assert response.status_code == 201, response.content
    session = Session.objects.get(uuid=response.json()["uuid"])
    assert run_to_end(session).answer == "[1, 7]"
    family = client.get(f"/api/v1/sessions/{session.uuid}/lineage").json()
    assert [(each["uuid"], each["level"]) for each in family] == [(str(source.uuid), 0), (str(session.uuid), 1)]
    assert [each["what"] for each in family[1]["origin"]["differences"]] == ["reply", "variable y"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"step": 9}, 422, "no step 9"),
        ({"step": 1, "changes": {"variables": "x"}}, 422, "not valid"),
        ({"step": 1, "changes": {"config": {"root": 1}}}, 422, "root"),
        ({"step": 1, "node": 5}, 422, "no node 5"),
        ({"step": -1}, 422, "step"),
    ],
)
def test_what_is_wrong_with_a_fork_is_said(
    client: Any, source: Session, body: dict[str, Any], status: int, word: str
) -> None:
    client.force_login(source.created_by)
    response = client.post(f"/api/v1/sessions/{source.uuid}/forks", body, JSON)
    assert (response.status_code, word in response.json()["message"]) == (status, True), response.content
    assert Session.objects.count() == 1


def test_a_re_execution_is_started_read_and_stopped(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    response = client.post(f"/api/v1/sessions/{source.uuid}/reexecutions", {"seed": 3}, JSON)
    assert response.status_code == 201, response.content
    uuid = response.json()["uuid"]
    run_job(Job.objects.get(uuid=uuid).uuid)
    found = client.get(f"/api/v1/reexecutions/{uuid}").json()
    assert (found["status"], found["result"]["verdict"]) == ("finished", "identical")
    assert client.post(f"/api/v1/reexecutions/{uuid}/stop").json() == {"stopped": False}
    assert client.post(f"/api/v1/sessions/{source.uuid}/reexecutions", {"node": 9}, JSON).status_code == 422


def test_others_get_nothing_and_viewers_only_look(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    uuid = client.post(f"/api/v1/sessions/{source.uuid}/reexecutions", {}, JSON).json()["uuid"]
    client.force_login(make_user(source.team, role=Role.VIEWER))
    assert client.get(f"/api/v1/reexecutions/{uuid}").status_code == 200
    assert client.get(f"/api/v1/sessions/{source.uuid}/lineage").status_code == 200
    assert client.post(f"/api/v1/sessions/{source.uuid}/forks", {"step": 1}, JSON).status_code == 404
    assert client.post(f"/api/v1/reexecutions/{uuid}/stop").status_code == 404
    client.force_login(make_user())
    assert client.get(f"/api/v1/reexecutions/{uuid}").status_code == 404
    assert client.get(f"/api/v1/sessions/{source.uuid}/lineage").status_code == 404
