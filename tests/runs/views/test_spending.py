"""What a session spent: the page, the figure, who may see it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse

from runs.models import LmCall, Session
from runs.spending import MAX_POINTS, _thinned, spending_by_step
from tests.factories import make_user
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Session:
    session = run_cells("a = llm_query('one')\nb = llm_query('two')", "c = 1")
    LmCall.objects.filter(session=session).update(cost_micro_usd=250_000)
    return session


def test_the_figure_adds_up_cost_and_tokens_along_the_time(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    figure = client.get(reverse("runs:session_spending_figure", args=[source.uuid])).json()
    cost, tokens = figure["data"]
    assert cost["y"] == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.25]
    assert tokens["y"][-1] == source.meter.input_tokens + source.meter.output_tokens
    assert cost["x"] == sorted(cost["x"]) == tokens["x"]
    assert "template" not in figure["layout"]


def test_the_table_names_each_step_and_tells_inherited_ones_apart(client: Any, source: Session) -> None:
    first = spending_by_step(source)[0]
    assert (first.node, first.step, first.calls, first.cost_micro_usd, first.inherited) == (0, 1, 3, 750_000, False)
    child = run_to_end(fork(source, 1))
    rows = spending_by_step(child)
    assert [(row.step, row.inherited, row.cost_micro_usd) for row in rows] == [
        (1, True, 750_000),
        (2, False, 0),
        (3, False, 0),
    ]
    client.force_login(source.created_by)
    page = client.get(reverse("runs:session_spending", args=[child.uuid])).content.decode()
    assert page.count(">inherited<") == 1
    figure = client.get(reverse("runs:session_spending_figure", args=[child.uuid])).json()
    assert figure["data"][0]["y"][-1] == 0, "the parent's cost is not the fork's"


def test_unknown_prices_are_no_zero(client: Any, source: Session) -> None:
    LmCall.objects.filter(session=source).update(cost_micro_usd=None)
    client.force_login(source.created_by)
    page = client.get(reverse("runs:session_spending", args=[source.uuid])).content.decode()
    assert "<td>unknown</td>" in page


def test_strangers_see_nothing(client: Any, source: Session) -> None:
    client.force_login(make_user())
    for name in ("session_spending", "session_spending_figure"):
        assert client.get(reverse(f"runs:{name}", args=[source.uuid])).status_code == 404


def test_a_long_session_keeps_its_first_and_last_point() -> None:
    for count in (1, 2, MAX_POINTS, MAX_POINTS + 1, 123_457):
        places = _thinned(count)
        assert (places[0], places[-1]) == (0, count - 1)
        assert len(places) <= MAX_POINTS + 1
        assert places == sorted(set(places))


def test_the_script_is_the_one_of_the_package() -> None:
    assert finders.find("vendor/plotly.min.js")
    assert finders.find("vendor/widgetbundle.js") is None
