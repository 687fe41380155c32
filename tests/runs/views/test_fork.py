"""The pages of forks: the form, the family."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.urls import reverse
from django.utils.html import strip_tags

from rlmweb.teams.models import Role
from runs.models import NodeMessage, Session
from runs.replay.origin import origin_of
from runs.services.config import config_from_plain
from runs.services.snapshots.reading import SnapshotExpired
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
    """What a browser without a script would send when nothing is touched."""
    form = client.get(url(session, step)).context["form"]
    return {name: form.raw_initial(name) for name in form.fields}


def changes_said(client: Any, session: Session, fields: dict[str, str]) -> str:
    response = client.post(reverse("runs:fork_changes", args=[session.uuid, 0, 1]), fields)
    assert response.status_code == 200
    return " ".join(strip_tags(unescape(response.content.decode())).split())


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
    position = NodeMessage.objects.get(node__session=source, role="assistant", step_number=1).position
    form |= {
        "title": "Another try",
        "question": "What else?",
        "reply": "```repl\nx.append(y)\nx.append(z)\nanswer['content'] = repr(x)\nanswer['ready'] = True\n```",
        f"message-{position}": "edited",
        "variable-0": "y",
        "expression-0": "'given'",
        "variable-1": "z",
        "kind-1": "json",
        "expression-1": "[null]",
        "limit_max_steps_per_node": "9",
        "limit_max_cost_usd": "",
        "root_temperature": "0.5",
        "compaction": "no",
        "random_seed": "7",
    }
    client.post(url(source), form)
    session = run_to_end(Session.objects.exclude(pk=source.pk).get())
    assert (session.title, session.question) == ("Another try", "What else?")
    assert session.answer == "[1, 'given', [None]]"
    config = config_from_plain(session.config)
    assert (config.limits.max_steps_per_node, config.limits.max_cost_usd) == (9, None)
    assert (config.root.sampling.temperature, config.compaction, config.determinism.seed) == (0.5, False, 7)
    before = config_from_plain(source.config)
    assert config.limits.max_wall_s == before.limits.max_wall_s
    assert (config.root.model, config.sub) == (before.root.model, before.sub)
    assert NodeMessage.objects.filter(node__session=session, content="edited").exists()
    page = client.get(reverse("runs:session", args=[session.uuid])).content.decode()
    assert "Forked after step 1" in page
    assert "limits.max_steps_per_node" in page or "question" in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit_max_depth": "77"}, "less than or equal to 32"),
        ({"limit_max_depth": ""}, "required"),
        ({"root_temperature": "hot"}, "Enter a number"),
        ({"root": "key:nobody"}, "Select a valid choice"),
        ({"provider": "elsewhere"}, "Select a valid choice"),
        ({"variable-0": "x", "kind-0": "json", "expression-0": "{"}, "not JSON"),
        ({"variable-0": "x", "expression-0": "1", "variable-1": "y", "expression-1": "1 / 0"}, "variable y could not"),
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


def test_a_field_that_is_not_sent_is_as_recorded(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    client.post(url(source), {"root_seed": "3"})
    session = Session.objects.exclude(pk=source.pk).get()
    assert (session.title, session.question) == (source.title, source.question)
    origin = origin_of(session.origin)
    assert origin is not None
    assert [(each.what, each.after) for each in origin.differences] == [("root.sampling.seed", "3")]
    refused = client.post(url(source), {"root_seed": "x"}).content.decode()
    assert f'value="{source.title}"' in refused


def test_recorded_values_that_the_form_could_not_have_made_are_kept(client: Any, source: Session) -> None:
    source.config["limits"] = {"cell_output_bytes": 3_000_000}
    source.config["root"]["extra"]["kept"] = 4
    source.save()
    client.force_login(source.created_by)
    client.post(url(source), {**as_recorded(client, source), "sub_seed": "", "root_seed": "3"})
    config = config_from_plain(Session.objects.exclude(pk=source.pk).get().config)
    assert (config.limits.cell_output_bytes, config.root.extra["kept"]) == (3_000_000, 4)


def test_another_model_keeps_the_sampling(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    client.post(url(source), {"root": "scripted:tour", "sub": "recorded", "root_top_p": "0.9"})
    assert not Session.objects.exclude(pk=source.pk).exists(), "the sub-calls' model was the root's"
    client.post(url(source), {"root": "scripted:tour", "root_top_p": "0.9"})
    config = config_from_plain(Session.objects.exclude(pk=source.pk).get().config)
    assert (config.root.model, config.root.sampling.top_p, config.sub) == ("scripted:tour", 0.9, None)


def test_the_server_says_what_the_form_would_change(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    assert "Nothing yet" in changes_said(client, source, as_recorded(client, source))
    said = changes_said(
        client,
        source,
        {"limit_max_depth": "3", "root_top_p": "0.9", "question": "Why?", "title": "T", "kind-0": "delete"}
        | {"variable-0": "x"},
    )
    for words in (
        "Limit: Depth: 2 → 3",
        "Title: ? → T",
        "Root model: top p: 0.9",
        "Question: ? → Why?",
        "Title:",
        "x: deleted",
    ):
        assert words in said
    assert "Enter a whole number" in changes_said(client, source, {"limit_max_depth": "deep"})
    assert "not a Python expression" in changes_said(client, source, {"variable-0": "x", "expression-0": "1 +"})
    page = client.post(url(source), {"limit_max_depth": "deep"}).content.decode()
    assert '<data value="2" dir="auto">2</data>' in page
    client.force_login(make_user(source.team, role=Role.VIEWER))
    assert client.post(reverse("runs:fork_changes", args=[source.uuid, 0, 1])).status_code == 404


def test_a_snapshot_that_is_gone_is_named_with_the_way_out(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    form = as_recorded(client, source)
    Snapshot.objects.filter(session_uuid=source.uuid, step_number=1).update(collected_at="2026-01-01T00:00:00Z")
    assert "retention policy" in client.get(url(source)).content.decode()
    response = client.post(url(source), form)
    assert response.status_code == 422
    assert SnapshotExpired.way_out in response.content.decode()


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
