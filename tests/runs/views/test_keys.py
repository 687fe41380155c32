"""Keys of teams and API tokens of people."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import ApiToken
from rlmweb.teams.tokens import make_token, user_of_api_token
from runs.lm.keys import open_key
from runs.models import LmCredential
from tests.cast import KEEPS_KEYS, SIGNED_IN, STARTS, Cast, make_cast

pytestmark = pytest.mark.django_db
SECRET = "sk-live-0123456789abcdef"


@pytest.fixture
def cast(settings: Any) -> Cast:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    return make_cast()


def fields(cast: Cast, **changed: Any) -> dict[str, Any]:
    return {"team": cast.team.slug, "name": "Ours", "api": "openai", "key": SECRET, **changed}


def add(cast: Cast, who: str = "lead", **changed: Any) -> Any:
    return cast.client(who).post(reverse("runs:keys"), fields(cast, **changed))


def test_a_key_is_stored_sealed_and_never_shown_again(cast: Cast) -> None:
    assert add(cast).status_code == 302
    row = LmCredential.objects.get()
    assert SECRET.encode() not in bytes(row.key_encrypted)
    assert open_key(bytes(row.key_encrypted), api="openai", base_url="") == SECRET
    page = cast.client("lead").get(reverse("runs:keys")).content.decode()
    assert "...cdef" in page
    assert SECRET not in page
    entry = AuditEntry.objects.get(action="credential.add")
    assert (entry.object_id, SECRET in str(entry.details)) == (str(row.uuid), False)


def test_a_key_does_not_come_back_with_an_error(cast: Cast) -> None:
    response = add(cast, base_url="https://evil.example/v1")
    assert response.status_code == 422
    assert SECRET not in response.content.decode()


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"base_url": "http://169.254.169.254/"}, "base_url", "RLMWEB_MODEL_HOSTS"),
        ({"base_url": "https://user:pw@api.openai.com/v1"}, "base_url", "must not hold a user name"),
        ({"key": ""}, "key", "needs a key"),
        ({"input_price": "1"}, "output_price", "both prices"),
        ({"input_price": "-1", "output_price": "1"}, "input_price", "greater"),
        ({"api": "moon"}, "api", "valid choice"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(cast: Cast, changed: dict[str, Any], field: str, message: str) -> None:
    assert message in str(add(cast, **changed).context["form"].errors[field])
    assert not LmCredential.objects.exists()


def test_a_name_is_taken_once(cast: Cast) -> None:
    add(cast)
    assert "already" in str(add(cast).context["form"].errors["name"])


def test_an_allowed_endpoint_without_a_key_has_prices_of_the_team(cast: Cast, settings: Any) -> None:
    settings.MODEL_HOSTS = ("gpu-box:8000",)
    add(cast, key="", base_url="http://gpu-box:8000/v1/", input_price="0.5", output_price="1.5")
    row = LmCredential.objects.get()
    assert (row.base_url, row.key_hint) == ("http://gpu-box:8000/v1", "no key")
    assert float(row.output_price_usd_per_million or 0) == 1.5


@pytest.mark.parametrize("name", SIGNED_IN)
def test_keys_are_kept_by_leads(cast: Cast, name: str) -> None:
    keeps = name in KEEPS_KEYS
    add(cast, name)
    assert LmCredential.objects.exists() == keeps
    LmCredential.objects.all().delete()
    add(cast, "lead")
    row = LmCredential.objects.get()
    response = cast.client(name).post(reverse("runs:key_delete", args=[row.uuid]))
    assert response.status_code == (302 if keeps else 404)
    assert LmCredential.objects.exists() != keeps


def test_a_token_is_shown_once_and_opens_what_its_owner_may(cast: Cast) -> None:
    client = cast.client("researcher")
    asked = {"name": "notebook", "days": "30", "team": cast.team.slug, "scopes": ["read", "run"]}
    response = client.post(reverse("runs:token_new"), asked)
    plain = response.context["new_token"][1]
    assert plain in response.content.decode()
    assert plain not in client.get(reverse("runs:keys")).content.decode()
    assert user_of_api_token(plain) == cast.people["researcher"]
    row = ApiToken.objects.get()
    assert (row.team, row.scopes) == (cast.team, ["read", "run"])
    assert plain not in str(row.__dict__)
    assert client.post(reverse("runs:token_revoke", args=[row.uuid])).status_code == 302
    assert user_of_api_token(plain) is None


def test_tokens_are_made_by_those_who_start_sessions_and_revoked_by_their_owner(cast: Cast) -> None:
    row, _ = make_token(cast.people["researcher"], cast.team, "mine")
    for name in ("mate", "lead", "owner", "superuser"):
        assert cast.client(name).post(reverse("runs:token_revoke", args=[row.uuid])).status_code == 404
    for name in ("viewer", "auditor", "superuser"):
        assert name not in STARTS
        assert cast.client(name).post(reverse("runs:token_new"), {"name": "x", "days": "30"}).status_code == 404


@pytest.mark.parametrize("token", ["", "rlm_", "rlm_" + "x" * 43, "\udcff", "Bearer"])
def test_a_wrong_token_is_nobodys(token: str) -> None:
    assert user_of_api_token(token) is None


def test_an_expired_token_and_one_of_a_person_who_left_are_nobodys(cast: Cast) -> None:
    _, expired = make_token(cast.people["researcher"], cast.team, "old", days=-1)
    _, left = make_token(cast.people["inactive"], cast.team, "left")
    assert user_of_api_token(expired) is None
    assert user_of_api_token(left) is None
