"""The list of sessions and the stop button."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from runs.access import Actor
from runs.examples import Tag
from runs.examples.answers import NumberAnswer
from runs.models import Session
from runs.queries import PAGE_ROWS
from runs.services.sessions import start_session
from tests.cast import SIGNED_IN, STOPS, Cast, make_cast
from tests.factories import make_context, make_session, make_team, make_user, scripted_config

pytestmark = pytest.mark.django_db

LIST = "/"
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def started(cast: Cast) -> Session:
    return start_session(
        actor=Actor(cast.people["researcher"], "test"),
        team=cast.team,
        question="How many?",
        context=make_context(cast.team),
        config=scripted_config(),
    )


def shown(cast: Cast, address: str = LIST, name: str = "lead") -> str:
    return cast.client(name).get(address).content.decode()


def test_an_empty_list_says_how_to_begin() -> None:
    cast = make_cast()
    cast.session.delete()
    page = shown(cast)
    assert "No sessions yet" in page
    assert reverse("runs:session_new") in page
    assert "Your role lets you see sessions" in shown(cast, name="viewer")


def test_a_row_says_what_was_asked_what_came_out_and_what_it_cost(cast: Cast) -> None:
    make_session(
        cast.team,
        title="Count the lines",
        status="finished",
        answer="42 lines",
        labels=["scripted"],
        created_by=cast.people["lead"],
    )
    page = shown(cast)
    for text in ("Count the lines", "42 lines", "scripted", "$0.00", "scripted:tour"):
        assert text in page


def test_costs_that_nobody_knows_are_called_unknown(cast: Cast) -> None:
    session = make_session(cast.team, status="finished")
    session.meter.calls_without_price = 3
    session.meter.save()
    assert "unknown" in shown(cast)
    session.meter.cost_micro_usd = 1_250_000
    session.meter.save()
    assert "≥ $1.25" in shown(cast)


def test_the_answer_of_an_example_is_judged(cast: Cast) -> None:
    tag = Tag("s-niah", "needle", 1, NumberAnswer("42")).encode()
    config: dict[str, Any] = {"root": {"api": "scripted", "model": "scripted:tour"}, "example": tag}
    make_session(cast.team, config=config, status="finished", answer="It is 42.")
    assert ">right<" in shown(cast)
    Session.objects.filter(config=config).update(answer="It is 41.")
    assert ">wrong<" in shown(cast)


def test_a_failed_session_says_why(cast: Cast) -> None:
    make_session(cast.team, status="failed", error_type="LmAuthFailed", error_message="The endpoint refused the key.")
    assert "LmAuthFailed: The endpoint refused the key." in shown(cast)


def test_running_sessions_come_first_and_the_page_asks_again(cast: Cast) -> None:
    make_session(cast.team, title="Newer but over", status="finished")
    page = shown(cast)
    assert page.index(cast.session.title) < page.index("Newer but over")
    assert 'data-refresh-ms="2000"' in page
    assert reverse("runs:session_rows") in page
    cast.session.delete()
    assert 'data-refresh-ms="10000"' in shown(cast)


def test_what_a_page_fetches_again_is_what_it_had(cast: Cast) -> None:
    # A running session's time goes on between the two requests.
    Session.objects.update(status="finished", finished_at=F("created_at"))
    part = shown(cast, reverse("runs:session_rows")).strip()
    assert "<html" not in part
    assert part in shown(cast)


def test_filters_narrow_the_list_and_stay_in_the_address(cast: Cast) -> None:
    make_session(cast.team, title="About apples", status="finished", question="red fruit")
    make_session(cast.team, title="About pears", status="failed")
    page = shown(cast, "/?status=finished")
    assert "About apples" in page
    assert "About pears" not in page
    assert cast.session.title not in page
    page = shown(cast, "/?q=fruit+apples")
    assert "About apples" in page
    assert "About pears" not in page
    assert "?q=fruit+apples" in page
    assert "No session fits" in shown(cast, "/?q=zebra")


@pytest.mark.parametrize(
    "query", ["status=nonsense", "before=x", "before=-1", "before=" + "9" * 40, "q=%00", "q=%27%22%3C"]
)
def test_odd_queries_are_no_error(cast: Cast, query: str) -> None:
    assert cast.client("lead").get(f"/?{query}").status_code == 200


def test_pages_by_key_miss_and_repeat_nothing(cast: Cast) -> None:
    for n in range(PAGE_ROWS + 5):
        make_session(cast.team, title=f"number {n:03}", status="finished", context=cast.session.context)
    client = cast.client("lead")
    first = client.get(LIST).context
    make_session(cast.team, title="started meanwhile", status="finished", context=cast.session.context)
    second = client.get(f"/?before={first['page'].next}").context
    titles = [row["session"].title for row in first["rows"] + second["rows"]]
    assert len(titles) == len(set(titles)) == PAGE_ROWS + 5
    assert second["page"].next is None


def test_the_number_of_queries_does_not_grow_with_the_rows(cast: Cast) -> None:
    def queries() -> int:
        client = cast.client("lead")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            client.get(LIST)
        return len(captured)

    few = queries()
    for _ in range(10):
        make_session(cast.team, status="finished", created_by=cast.people["lead"])
    assert queries() <= few + 1


def test_hostile_titles_and_answers_are_shown_as_text(cast: Cast) -> None:
    make_session(cast.team, title=HOSTILE, question=HOSTILE, answer=HOSTILE, status="finished")
    page = shown(cast)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_after_signing_in_one_sees_the_running_session(cast: Cast) -> None:
    make_session(cast.team, status="finished")
    response = cast.client("lead").get(reverse("runs:first"))
    assert response["Location"] == reverse("runs:session", args=[cast.session.uuid])
    newcomer = Cast(make_team(), cast.session, {"lead": make_user(make_team(), "lead")})
    assert newcomer.client("lead").get(reverse("runs:first"))["Location"] == reverse("runs:session_new")


@pytest.mark.parametrize("name", SIGNED_IN)
def test_stopping_is_for_who_started_it_and_for_leads(cast: Cast, name: str) -> None:
    session = started(cast)
    response = cast.client(name).post(reverse("runs:session_stop", args=[session.uuid]))
    session.refresh_from_db()
    assert response.status_code == (302 if name in STOPS else 404)
    assert session.status == ("stopped" if name in STOPS else "running")


def test_stopping_twice_is_no_error_and_audited_once(cast: Cast) -> None:
    session = started(cast)
    for _ in range(2):
        response = cast.client("lead").post(
            reverse("runs:session_stop", args=[session.uuid]), headers={"Accept": "application/json"}
        )
        assert response.status_code == 204
    assert AuditEntry.objects.filter(action="session.stop", object_id=str(session.uuid)).count() == 1


@pytest.mark.parametrize("node", ["7", "-1", "x", "9" * 30])
def test_a_node_that_is_not_there_cannot_be_stopped(cast: Cast, node: str) -> None:
    session = started(cast)
    response = cast.client("lead").post(reverse("runs:session_stop", args=[session.uuid]), {"node": node})
    assert response.status_code == 400
    session.refresh_from_db()
    assert session.status == "running"


def test_stopping_needs_a_post_with_the_token_of_the_page(cast: Cast) -> None:
    address = reverse("runs:session_stop", args=[started(cast).uuid])
    client = cast.client("lead")
    assert client.get(address).status_code == 405
    client.handler.enforce_csrf_checks = True
    assert client.post(address).status_code == 403
    assert client.post(reverse("runs:session_stop", args=[uuid4()])).status_code == 403
