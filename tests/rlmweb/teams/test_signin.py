"""How people come in: by the printed address on a single-user installation, by password elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from rlmweb.teams.models import Membership, OrganisationMembership, Role, Team
from rlmweb.teams.services import LOCAL_OWNER, ensure_local_owner, prepare_installation
from tests.factories import make_user

pytestmark = pytest.mark.django_db
TOKEN = "a-token-that-was-printed"


@pytest.fixture
def single(settings: Any) -> None:
    settings.SINGLE_USER = True
    settings.OPEN_TOKEN = TOKEN


@pytest.mark.usefixtures("single")
def test_the_printed_address_signs_the_local_owner_in() -> None:
    client = Client()
    response = client.get(f"/open/{TOKEN}/")
    assert response["Location"] == "/first/"
    cookie = response.cookies["rlmweb_session"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert TOKEN not in cookie.value
    assert client.get("/").status_code == 200
    assert Membership.objects.get(user__username=LOCAL_OWNER).role == Role.LEAD
    assert OrganisationMembership.objects.get(user__username=LOCAL_OWNER).role == Role.OWNER


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("token", ["x", TOKEN[:-1], TOKEN + "x", "%00", "%FF", "None"])
def test_a_wrong_token_opens_nothing_and_says_where_the_right_one_is(token: str) -> None:
    client = Client()
    response = client.get(f"/open/{token}/")
    assert response.status_code == 403
    assert "manage.py up" in response.content.decode()
    assert client.get("/").status_code == 302


@pytest.mark.usefixtures("single")
def test_without_a_cookie_one_is_told_where_to_look() -> None:
    response = Client().get("/", follow=True)
    assert response.status_code == 403
    assert "manage.py up" in response.content.decode()


@pytest.mark.usefixtures("single")
def test_no_token_is_not_the_empty_token(settings: Any) -> None:
    settings.OPEN_TOKEN = ""
    assert Client().get("/open/x/").status_code == 403


def test_with_many_users_no_token_opens_anything(settings: Any) -> None:
    settings.OPEN_TOKEN = TOKEN
    assert Client().get(f"/open/{TOKEN}/").status_code == 404
    assert Client().get("/open/").status_code == 404
    assert not get_user_model().objects.filter(username=LOCAL_OWNER).exists()


def test_people_sign_in_by_password_and_out() -> None:
    make_user(username="ada", password="a good password")
    client = Client()
    page = client.get("/", follow=True)
    assert page.redirect_chain[-1][0] == "/accounts/login/?next=%2F"
    assert 'name="password"' in page.content.decode()
    wrong = client.post("/accounts/login/", {"login": "ada", "password": "wrong"})
    assert "are not correct" in wrong.content.decode()
    right = client.post("/accounts/login/", {"login": "ada", "password": "a good password", "next": "/docs/"})
    assert right["Location"] == "/docs/"
    away = client.post(
        "/accounts/login/", {"login": "ada", "password": "a good password", "next": "https://evil.example/"}
    )
    assert away["Location"] == "/"
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/").status_code == 302


def test_an_installation_has_a_default_team_and_only_a_single_user_one_an_owner(settings: Any) -> None:
    Team.objects.all().delete()
    prepare_installation()
    assert Team.objects.count() == 1
    assert not get_user_model().objects.exists()
    settings.SINGLE_USER = True
    for _ in range(2):
        prepare_installation()
    owner = get_user_model().objects.get()
    assert owner == ensure_local_owner()
    assert not owner.has_usable_password()
