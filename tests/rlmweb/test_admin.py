"""The admin shows every model and lets nobody rewrite history."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from rlmweb.audit.record import record
from runs.access import Actor
from runs.models import Session
from runs.services.sessions import start_session
from tests.factories import make_context, make_team, make_user, scripted_config

pytestmark = pytest.mark.django_db
OURS = [model for app in ("teams", "audit", "sandboxes", "runs") for model in apps.get_app_config(app).get_models()]
NAMES = [f"{model._meta.app_label}_{model._meta.model_name}" for model in OURS]


@pytest.fixture
def boss() -> Client:
    user = make_user(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def session() -> Session:
    team = make_team()
    actor = Actor(make_user(team), "test")
    context = make_context(team)
    return start_session(actor=actor, team=team, question="?", context=context, config=scripted_config("tour"))


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_list_that_opens_and_can_be_searched(boss: Client, session: Session, name: str) -> None:
    record("session.stop", actor="me", object_type="session", object_id=session.uuid)
    answer = boss.get(reverse(f"admin:{name}_changelist"), {"q": str(session.uuid)})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("teams_")])
def test_history_cannot_be_added_to_by_hand(boss: Client, name: str) -> None:
    assert boss.get(reverse(f"admin:{name}_add")).status_code == 403


def test_a_session_opens_and_cannot_be_changed_or_deleted(boss: Client, session: Session) -> None:
    address = reverse("admin:runs_session_change", args=[session.pk])
    assert boss.get(address).status_code == 200
    assert boss.post(address, {"title": "rewritten"}).status_code == 403
    assert boss.post(reverse("admin:runs_session_delete", args=[session.pk]), {"post": "yes"}).status_code == 403
    session.refresh_from_db()
    assert session.title != "rewritten"


def test_every_model_of_ours_is_registered() -> None:
    through = {"Team_members"}
    assert [model for model in OURS if model not in admin.site._registry and model.__name__ not in through] == []
