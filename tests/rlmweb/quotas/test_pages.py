"""The page of quotas: who sees and sets what, in words that are right."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.quotas.models import Payer, Quota
from rlmweb.quotas.scopes import WHOLE, Scope, user_uuid
from rlmweb.quotas.services import record_use
from rlmweb.teams.tokens import make_token
from tests.cast import SIGNED_IN, Cast, make_cast
from tests.factories import make_context

pytestmark = pytest.mark.django_db

SETS = ("admin", "owner", "superuser")


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def team_key(cast: Cast) -> str:
    return f"team:{cast.team.uuid}"


def filled(scope: str, **fields: Any) -> dict[str, Any]:
    return {
        "scope": scope,
        "resource": "cost_micro_usd",
        "limit": "12.5",
        "period": "month",
        "on_exceed": "pause",
        "soft_percent": "80",
        **fields,
    }


@pytest.mark.parametrize("name", SIGNED_IN)
def test_people_see_what_concerns_them(cast: Cast, name: str) -> None:
    stranger = cast.people["stranger"].teams.get()
    for team in (cast.team, stranger):
        Quota.objects.create(
            scope_kind="team", scope_uuid=team.uuid, resource="sessions", limit=7, period="day", set_by="x"
        )
    page = cast.client(name).get(reverse("quotas:quotas"))
    assert page.status_code == 200
    text = page.content.decode()
    assert (f'id="scope-{cast.team.uuid}"' in text) == (name != "stranger")
    assert (f'id="scope-{stranger.uuid}"' in text) == (name in ("stranger", "superuser"))
    assert (f'id="scope-{WHOLE.uuid}"' in text) == (name == "superuser")
    assert (reverse("quotas:set") in text) == (name in SETS)


@pytest.mark.parametrize("name", [*SIGNED_IN, "anonymous"])
def test_only_who_keeps_the_rules_sets_and_removes(cast: Cast, name: str) -> None:
    client = cast.client(name)
    answer = client.post(reverse("quotas:set"), filled(team_key(cast)))
    found = Quota.objects.filter(scope_uuid=cast.team.uuid)
    assert found.exists() == (name in SETS)
    if name not in SETS:
        assert answer.status_code == (302 if name == "anonymous" else 404)
        other = Quota.objects.create(
            scope_kind="team", scope_uuid=cast.team.uuid, resource="exports", limit=7, period="day", set_by="x"
        )
        assert client.post(reverse("quotas:remove", args=[other.uuid])).status_code == answer.status_code
        for data in (filled(team_key(cast)), {}):
            assert client.post(reverse("quotas:preview"), data).status_code == answer.status_code
        assert Quota.objects.filter(pk=other.pk).exists()
        return
    quota = found.get()
    assert (quota.limit, quota.period, quota.set_by) == (12_500_000, "month", cast.people[name].username)
    entry = AuditEntry.objects.get(action="quota.set")
    assert entry.document["changes"]["limit"] == [None, 12_500_000]
    assert client.post(reverse("quotas:remove", args=[quota.uuid])).status_code == 302
    assert not found.exists()
    assert AuditEntry.objects.filter(action="quota.remove").count() == 1


def test_an_administrator_sets_nothing_of_the_installation_or_of_other_organisations(cast: Cast) -> None:
    client = cast.client("admin")
    stranger = cast.people["stranger"]
    for scope in (
        f"installation:{WHOLE.uuid}",
        f"team:{stranger.teams.get().uuid}",
        f"organisation:{stranger.teams.get().organisation.uuid}",
        f"user:{user_uuid(stranger.pk)}",
        f"user:{user_uuid(cast.people['admin'].pk)}",
        f"team:{uuid4()}",
    ):
        assert client.post(reverse("quotas:set"), filled(scope)).status_code == 404
    assert client.post(reverse("quotas:set"), filled("team:nonsense")).status_code == 422
    assert not Quota.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"limit": "-1"}, "greater than or equal to 0"),
        ({"limit": "NaN"}, "Enter a number"),
        ({"limit": "9" * 14}, "more than can be counted"),
        ({"resource": "sessions", "period": "none"}, "choose a day or a month"),
        ({"resource": "gpu_ms:…", "gpu": "<b>"}, "Name the type of GPU"),
        ({"soft_percent": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_said(cast: Cast, fields: dict[str, str], said: str) -> None:
    answer = cast.client("owner").post(reverse("quotas:set"), filled(team_key(cast), **fields))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Quota.objects.exists()


def test_figures_have_their_units(cast: Cast) -> None:
    team = Scope("team", cast.team.uuid)
    Quota.objects.create(
        scope_kind="team", scope_uuid=team.uuid, resource="cost_micro_usd", limit=10_000_000, period="month", set_by="x"
    )
    record_use([WHOLE, team], {"cost_micro_usd": 9_990_000, "sandbox_ms": 5_400_000})
    text = cast.client("viewer").get(reverse("quotas:quotas")).content.decode()
    for shown in ("9.99 USD", "10 USD a month", "1.50 h", "99 %"):
        assert shown in text


def test_the_effect_is_shown_before_it_is_set(cast: Cast) -> None:
    team = Scope("team", cast.team.uuid)
    for _ in range(12):
        record_use([WHOLE, team], {"sessions": 1}, session=uuid4())
    answer = cast.client("admin").post(
        reverse("quotas:preview"), filled(team_key(cast), resource="sessions", limit="9", period="day")
    )
    assert "3 of 12 sessions of last week would have been paused" in answer.content.decode()
    assert not Quota.objects.exists()


def test_the_form_and_the_api_say_why_nothing_was_started(cast: Cast) -> None:
    Quota.objects.create(
        scope_kind="team", scope_uuid=cast.team.uuid, resource="sessions", limit=0, period="day", set_by="x"
    )
    client: Client = cast.client("researcher")
    context = make_context(cast.team)
    form = client.get(reverse("runs:session_new"))
    assert "Sessions started (team): 0 of 0" in form.content.decode()
    model = {"api": "scripted", "model": "scripted:tour"}
    body = {"context": str(context.uuid), "question": "How many?", "config": {"root": model}}
    client.handler.enforce_csrf_checks = False
    answer = client.post("/api/v1/sessions", body, content_type="application/json")
    assert answer.status_code == 429
    problem = answer.json()
    assert problem["type"] == "quota_exceeded"
    assert "Sessions started of the team: 0 a day allowed" in problem["message"]
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert problem["hint"] == f"resets_at={midnight.isoformat()}"
    assert int(answer["Retry-After"]) <= 86_400


def test_what_comes_with_a_token_counts_for_it_and_stops_at_its_limit(cast: Cast) -> None:
    token, plain = make_token(cast.people["researcher"], cast.team, "nightly")
    Quota.objects.create(
        scope_kind="key", scope_uuid=token.uuid, resource="sessions", limit=1, period="day", set_by="x"
    )
    model = {"api": "scripted", "model": "scripted:tour"}
    body = {"context": str(make_context(cast.team).uuid), "question": "How many?", "config": {"root": model}}
    headers = {"authorization": f"Bearer {plain}"}
    first, second = (
        Client().post("/api/v1/sessions", body, content_type="application/json", headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 429)
    assert "Sessions started of this API key" in second.json()["message"]
    assert Payer.objects.get(session_uuid=first.json()["uuid"]).scopes["key"] == str(token.uuid)


def test_a_page_that_is_refused_says_why(cast: Cast) -> None:
    Quota.objects.create(
        scope_kind="team", scope_uuid=cast.team.uuid, resource="exports", limit=0, period="day", set_by="x"
    )
    address = reverse("runs:session_archive", args=[cast.session.uuid])
    page = cast.client("researcher").get(address, headers={"accept": "text/html"})
    assert page.status_code == 429
    assert "Exports of the team: 0 a day allowed" in page.content.decode()
    assert (
        cast.client("researcher").get(f"/api/v1/sessions/{cast.session.uuid}/archive").json()["type"]
        == "quota_exceeded"
    )


def test_what_the_whole_installation_uses_is_told_to_nobody_but_staff(cast: Cast) -> None:
    Quota.objects.create(
        scope_kind="installation", scope_uuid=WHOLE.uuid, resource="sessions", limit=4321, period="day", set_by="x"
    )
    record_use([WHOLE], {"sessions": 4321})
    context = make_context(cast.team)
    model = {"api": "scripted", "model": "scripted:tour"}
    body = {"context": str(context.uuid), "question": "How many?", "config": {"root": model}}
    client = cast.client("researcher")
    said = client.post("/api/v1/sessions", body, content_type="application/json").json()["message"]
    said += client.get(reverse("runs:session_new")).content.decode()
    said += client.get(reverse("quotas:quotas")).content.decode()
    assert "the installation has no room" in said
    assert "4321" not in said
    assert "4,321" not in said
    assert "4,321" in cast.client("superuser").get(reverse("quotas:quotas")).content.decode()
