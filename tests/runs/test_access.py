"""Who may see and change what. The rules are the table of roles in the user guide."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from rlmweb.teams.models import Membership
from runs.access import (
    actor_of,
    context_for,
    credential_for,
    session_for,
    sessions_of,
    team_for,
    teams_to_keep_keys_of,
    teams_to_start_in,
)
from runs.models import LmCredential
from tests.cast import KEEPS_KEYS, SEES, STARTS, STOPS, Cast, make_cast
from tests.factories import make_context

pytestmark = pytest.mark.django_db

EVERYBODY = ("viewer", "researcher", "mate", "lead", "auditor", "admin", "owner", "stranger", "superuser", "inactive")


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def allowed(function: Any, *arguments: Any) -> bool:
    try:
        function(*arguments)
    except Http404:
        return False
    return True


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_session_is_seen_by_its_team_only(cast: Cast, name: str) -> None:
    user = cast.people[name]
    assert allowed(session_for, user, cast.session.uuid) == (name in SEES)
    assert (cast.session in sessions_of(user)) == (name in SEES)


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_session_is_stopped_by_who_started_it_and_by_leads(cast: Cast, name: str) -> None:
    assert allowed(session_for, cast.people[name], cast.session.uuid, "stop") == (name in STOPS)


@pytest.mark.parametrize("name", EVERYBODY)
def test_sessions_are_started_by_researchers_and_up(cast: Cast, name: str) -> None:
    user = cast.people[name]
    assert allowed(team_for, user) == (name in STARTS)
    assert (cast.team in teams_to_start_in(user)) == (name in STARTS and name != "stranger")


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_context_is_seen_like_a_session(cast: Cast, name: str) -> None:
    assert allowed(context_for, cast.people[name], make_context(cast.team).uuid) == (name in SEES)


@pytest.mark.parametrize("name", EVERYBODY)
def test_keys_are_used_by_researchers_and_deleted_by_leads(cast: Cast, name: str) -> None:
    credential = LmCredential.objects.create(
        team=cast.team, name="key", api="openai", key_encrypted=b"", key_hint="..."
    )
    user, keepers = cast.people[name], KEEPS_KEYS
    assert allowed(credential_for, user, credential.uuid) == (name in STARTS and name != "stranger")
    assert allowed(credential_for, user, credential.uuid, "delete") == (name in keepers)
    assert (cast.team in teams_to_keep_keys_of(user)) == (name in keepers)


def test_nobody_is_not_a_person(cast: Cast) -> None:
    nobody = AnonymousUser()
    assert not allowed(session_for, nobody, cast.session.uuid)
    assert not allowed(team_for, nobody)
    assert not allowed(actor_of, nobody, "web")
    assert not sessions_of(nobody).exists()


@pytest.mark.parametrize("bad", [uuid4(), "", "not-a-uuid", "0" * 200, "' OR 1=1 --"])
def test_a_bad_id_is_answered_like_one_of_others(cast: Cast, bad: object) -> None:
    assert not allowed(session_for, cast.people["owner"], bad)
    assert not allowed(context_for, cast.people["owner"], bad)


def test_leaving_the_team_takes_effect_at_once(cast: Cast) -> None:
    user = cast.people["researcher"]
    assert allowed(session_for, user, cast.session.uuid)
    Membership.objects.filter(user=user).delete()
    assert not allowed(session_for, user, cast.session.uuid)


def test_an_actor_carries_its_name_and_entrance(cast: Cast) -> None:
    actor = actor_of(cast.people["lead"], "api")
    assert (actor.name, actor.source) == (cast.people["lead"].username, "api")
