"""The page that puts two sessions side by side."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from runs.models import Session
from tests.factories import make_user
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


def url(a: Session, b: Session, more: str = "") -> str:
    return f"{reverse('runs:compare')}?a={a.uuid}&b={b.uuid}{more}"


def test_a_fork_and_its_source_part_where_the_fork_was_changed(client: Any) -> None:
    source = run_cells("x = [1]", "x.append(2)\nprint(x)", "y = 1")
    other = run_to_end(fork(source, 1, reply="```repl\nx.append('<b>mine</b>')\nprint(x)\n```"))
    client.force_login(source.created_by)
    response = client.get(url(source, other))
    page = response.content.decode()
    assert response.status_code == 200
    divergence = response.context["divergence"]
    assert (divergence.step.number, divergence.node.place) == (2, ())
    assert {"reply", "code", "output"} <= set(divergence.step.different)
    assert [each.equal for each in response.context["node"].steps][:2] == [True, False]
    assert "&lt;b&gt;mine" in page
    assert "<b>mine" not in page
    changed = {each.row.name: (each.a_preview, each.b_preview) for each in response.context["view"].variables}
    assert changed["x"][0] == "[1, 2]"


def test_a_session_is_the_same_as_itself(client: Any) -> None:
    source = run_cells("x = [1]")
    client.force_login(source.created_by)
    response = client.get(url(source, source))
    assert response.context["divergence"] is None
    assert response.context["settings"] == []
    assert "Every recorded step of the two is the same" in response.content.decode()


def test_any_step_can_be_chosen_and_odd_choices_lead_to_the_first_difference(client: Any) -> None:
    source = run_cells("x = [1]", "x.append(2)")
    other = run_to_end(fork(source, 1, question="Another?", reply="```repl\nx.append(3)\n```"))
    client.force_login(source.created_by)
    assert client.get(url(source, other, "&node=0&other=0&step=1")).context["step"].number == 1
    for odd in ("&step=99", "&node=77&step=x", "&node=-1", "&step=" + "9" * 40):
        response = client.get(url(source, other, odd))
        assert response.status_code == 200
        assert response.context["step"].number == 2
    assert "question" in [each.name for each in response.context["settings"]]


def test_both_sessions_must_be_ones_own(client: Any) -> None:
    mine, theirs = run_cells("x = 1"), run_cells("x = 2")
    client.force_login(mine.created_by)
    assert client.get(url(mine, theirs)).status_code == 404
    assert client.get(url(theirs, mine)).status_code == 404
    assert client.get(reverse("runs:compare")).status_code == 404
    assert client.get(reverse("runs:compare") + f"?a={mine.uuid}&b=nonsense").status_code == 404
    client.force_login(make_user())
    assert client.get(url(mine, mine)).status_code == 404
