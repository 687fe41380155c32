"""The pages of forks: the form, the family."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse

from rlmweb.teams.models import Role
from runs.models import NodeMessage, Session
from runs.replay.origin import origin_of
from sandboxes.models import Snapshot
from tests.factories import make_user
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)\nprint(x)")


def url(session: Session, step: int = 1) -> str:
    return reverse("runs:fork_new", args=[session.uuid, 0, step])


def as_recorded(client: Any, session: Session, step: int = 1) -> dict[str, str]:
    """What a browser would send when nothing is touched."""
    recorded = client.get(url(session, step)).context["recorded"]
    messages = {f"message-{row.position}": row.content for row in recorded.messages}
    names = ("title", "question", "system_prompt", "reply", "config")
    return {**{name: getattr(recorded, name) for name in names}, **messages}


def test_the_form_shows_what_was_recorded(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    page = client.get(url(source)).content.decode()
    assert "x.append(2)" in page
    assert '<option value="x">list</option>' in page


def test_nothing_changed_means_that_the_model_is_asked_again(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    response = client.post(url(source), as_recorded(client, source))
    session = Session.objects.exclude(pk=source.pk).get()
    assert response.url == reverse("runs:session", args=[session.uuid])
    origin = origin_of(session.origin)
    assert origin is not None
    assert origin.differences == []
    assert run_to_end(session).answer == source.answer


def test_every_change_of_the_form_reaches_the_fork(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    form = as_recorded(client, source)
    config = json.loads(form["config"])
    config["limits"] = {**config.get("limits", {}), "max_steps_per_node": 9}
    position = NodeMessage.objects.get(node__session=source, role="assistant", step_number=1).position
    form |= {
        "title": "Another try",
        "question": "What else?",
        "reply": "```repl\nx.append(y)\nanswer['content'] = repr(x)\nanswer['ready'] = True\n```",
        f"message-{position}": "edited",
        "variable-0": "y",
        "expression-0": "'given'",
        "config": json.dumps(config),
    }
    client.post(url(source), form)
    session = run_to_end(Session.objects.exclude(pk=source.pk).get())
    assert (session.title, session.question) == ("Another try", "What else?")
    assert session.answer == "[1, 'given']"
    assert session.config["limits"]["max_steps_per_node"] == 9
    assert NodeMessage.objects.filter(node__session=session, content="edited").exists()
    page = client.get(reverse("runs:session", args=[session.uuid])).content.decode()
    assert "Forked after step 1" in page
    assert "limits.max_steps_per_node" in page or "question" in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": "{"}, "not JSON"),
        ({"config": '{"root": 5}'}, "root"),
        ({"variable-0": "no name!", "expression-0": "1"}, "not a name"),
        ({"variable-0": "x", "expression-0": "1 +"}, "not a Python expression"),
    ],
)
def test_what_is_wrong_is_said_and_the_input_is_kept(
    client: Any, source: Session, fields: dict[str, str], message: str
) -> None:
    client.force_login(source.created_by)
    form = {**as_recorded(client, source), "title": "my title", **fields}
    response = client.post(url(source), form)
    page = response.content.decode()
    assert response.status_code == 422
    assert message in page
    assert "my title" in page
    assert Session.objects.count() == 1


def test_a_snapshot_that_is_gone_is_named_with_the_way_out(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    form = as_recorded(client, source)
    Snapshot.objects.filter(session_uuid=source.uuid, step_number=1).update(collected_at="2026-01-01T00:00:00Z")
    assert "retention policy" in client.get(url(source)).content.decode()
    response = client.post(url(source), form)
    assert response.status_code == 422
    assert "Choose a later step" in response.content.decode()


def test_the_lineage_shows_the_family_that_one_may_see(client: Any, source: Session) -> None:
    child = run_to_end(fork(source, 1, reply="```repl\nx.append(5)\n```"))
    grandchild = run_to_end(fork(child, 2))
    hidden = fork(source, 1)
    Session.objects.filter(pk=hidden.pk).update(hidden=True)
    client.force_login(source.created_by)
    for shown in (source, child, grandchild):
        rows = client.get(reverse("runs:lineage", args=[shown.uuid])).context["rows"]
        assert [(row.session.pk, row.level) for row in rows] == [(source.pk, 0), (child.pk, 1), (grandchild.pk, 2)]
        assert [row.is_self for row in rows].index(True) == [source, child, grandchild].index(shown)


def test_who_forks_and_who_sees(client: Any, source: Session) -> None:
    client.force_login(make_user(source.team, role=Role.VIEWER))
    assert client.get(reverse("runs:lineage", args=[source.uuid])).status_code == 200
    assert client.get(url(source)).status_code == 404
    client.force_login(make_user())
    assert client.get(reverse("runs:lineage", args=[source.uuid])).status_code == 404
    assert client.post(url(source), {}).status_code == 404
    client.force_login(source.created_by)
    assert client.get(url(source, 77)).status_code == 404
