"""Web sessions that end by themselves."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.test import Client

from rlmweb.audit.models import AuditEntry
from rlmweb.settings.base import ROOT_DIR
from rlmweb.teams.models import Membership, OrganisationPolicy, Team
from rlmweb.teams.policies.idling import ACTIVE_AT, SIGNED_IN_AT, Limits, ended, limits_of, note_act
from tests.factories import make_team, make_user

pytestmark = pytest.mark.django_db
HTML = {"accept": "text/html"}


def with_rules(**document: Any) -> Team:
    team = make_team()
    OrganisationPolicy.objects.create(organisation=team.organisation, version=1, profile="open", document=document)
    return team


def signed_in(user: Any, **times: float) -> Client:
    client = Client()
    client.force_login(user)
    store = client.session
    store.update(times)
    store.save()
    return client


def test_the_strictest_organisation_counts_and_only_its_newest_version() -> None:
    strict, lax = with_rules(idle_minutes=10, session_hours=9), with_rules(idle_minutes=30, session_hours=2)
    user = make_user(strict)
    Membership.objects.create(team=lax, user=user, role="viewer")
    assert limits_of(user) == Limits(600, 7200)
    OrganisationPolicy.objects.create(organisation=strict.organisation, version=2, profile="open")
    assert limits_of(user) == Limits(1800, 7200)


def test_nobody_is_limited_where_no_organisation_limits_and_nothing_is_written_for_them() -> None:
    client = signed_in(make_user(make_team()), **{ACTIVE_AT: 1.0})
    assert client.get("/", headers=HTML).status_code == 200
    assert client.session[ACTIVE_AT] == 1.0


def test_a_policy_that_cannot_be_read_is_as_strict_as_any() -> None:
    assert limits_of(make_user(with_rules(idle="never"))) == Limits(15 * 60, 8 * 3600)


@pytest.mark.parametrize(("age_s", "over"), [(599, False), (601, True)])
def test_idle_time_ends_the_web_session_on_every_page_and_the_api(age_s: float, over: bool) -> None:
    user = make_user(with_rules(idle_minutes=10))
    now = time.time()
    client = signed_in(user, **{ACTIVE_AT: now - age_s, SIGNED_IN_AT: now - age_s})
    assert client.get("/api/v1/sessions").status_code == (401 if over else 200)
    assert ("_auth_user_id" in client.session) is not over
    assert AuditEntry.objects.filter(action="user.time_out").count() == over
    if over:
        page = client.get("/sessions/new/", headers=HTML)
        assert page.status_code in (302, 404)


def test_hours_end_it_however_much_is_done() -> None:
    now = time.time()
    client = signed_in(make_user(with_rules(session_hours=8)), **{ACTIVE_AT: now, SIGNED_IN_AT: now - 8 * 3600 - 1})
    response = client.get("/", headers=HTML)
    assert response.status_code == 302
    assert "after 8 hours" in str(client.get(response["Location"], follow=True, headers=HTML).content)


@pytest.mark.parametrize(
    ("headers", "is_act"),
    [
        ({}, True),
        ({"sec-fetch-mode": "navigate"}, True),
        ({"sec-fetch-mode": "cors"}, False),
        ({"sec-fetch-mode": "cors", "hx-request": "true"}, True),
        ({"sec-fetch-mode": "cors", "hx-request": "true", "x-refresh": "1"}, False),
    ],
)
def test_what_a_page_fetches_by_itself_keeps_nobody_signed_in(headers: dict[str, str], is_act: bool) -> None:
    now = time.time()
    client = signed_in(make_user(with_rules(idle_minutes=10)), **{ACTIVE_AT: now - 300, SIGNED_IN_AT: now - 300})
    client.get("/", headers={**HTML, **headers})
    assert (client.session[ACTIVE_AT] > now - 1) is is_act


def test_every_part_of_a_page_that_fetches_itself_says_so() -> None:
    parts = [
        (path.name, tag)
        for path in (ROOT_DIR / "templates").rglob("*.html")
        for tag in re.findall(r"<\w+ [^>]*hx-get=[^>]*>", path.read_text())
        if re.search(r'hx-trigger="(load|refresh|every [^"]*)"', tag)
    ]
    assert len(parts) >= 9
    assert [name for name, tag in parts if "X-Refresh" not in tag] == []


def test_values_that_are_no_times_begin_anew() -> None:
    kept: dict[str, Any] = {ACTIVE_AT: "soon", SIGNED_IN_AT: None}
    assert ended(kept, Limits(60, 60), now=1000.0) == ""
    note_act(kept, is_act=True, now=1000.0)
    assert kept[ACTIVE_AT] == 1000.0
