"""Every address against everybody: generated from the URL configuration, compared with the table of who gets in.

The table is `tests/fixtures/authorisation.json`: route -> method -> roles that are let in, of the own organisation. A route
that is not in it fails, with the row to add once somebody has looked at it. Nobody of elsewhere is ever let in.

Requests have no body, so operations of the API that want one say 422 before they look who asks; their own tests go on.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session as Login
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from rlmweb.teams.models import Role
from runs.shares.attempts import attempts
from runs.views.shared import HEADERS
from tests.worlds import Route, World, make_world, routes

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = Path(__file__).parents[2] / "fixtures" / "authorisation.json"
ROUTES = [route for route in routes() if route.name != "healthz"]
"""Without the one that says 503 to everybody while no worker runs."""
METHODS = ("GET", "POST", "PUT", "DELETE")
REFUSALS = (401, 403, 404, 405, 429)
LINKS = ("runs:shared", "runs:shared_open", "runs:shared_events", "runs:shared_blob")
"""Opened by what one holds, not by who one is."""
NAME_NOTHING_OF_SOMEBODY = ("open", "sandboxes:catalogue_provider", "sandboxes:catalogue_export")
"""A token that opens nothing here; vendors, whom everybody may read about."""
NO_MATTER = ("django_session", "audit_", "teams_apitoken", "pg_")
"""Tables that every request may write to: the own login, and the log."""


@pytest.fixture
def worlds(settings: Any, tmp_path: Path) -> tuple[World, World]:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    settings.UPLOAD_DIR = tmp_path
    attempts._buckets.clear()
    return make_world("quuxol"), make_world("zorbax")


def ask(client: Client, method: str, address: str, *, stream: bool = True) -> tuple[Any, str, dict[str, int]]:
    """The answer, its text, and how many rows of which tables were written; all of it is taken back, the cookies too."""
    cookies = deepcopy(client.cookies)
    with transaction.atomic():
        before = _written()
        answer = client.generic(method, address, HTTP_ACCEPT="text/html")
        written = {table: count - before.get(table, 0) for table, count in _written().items()}
        text = answer.content.decode(errors="replace") if not answer.streaming else _streamed(answer) if stream else ""
        transaction.set_rollback(True)
    client.cookies = cookies
    changed = {table: count for table, count in written.items() if count and not table.startswith(NO_MATTER)}
    return answer, text, changed


def _written() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables")
        return dict(cursor.fetchall())


def _streamed(answer: Any) -> str:
    from asgiref.sync import async_to_sync

    async def collected() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    data = async_to_sync(collected)() if answer.is_async else b"".join(answer.streaming_content)
    return bytes(data).decode(errors="replace")


def let_in(answer: Any) -> bool:
    return answer.status_code not in REFUSALS and "/login/" not in answer.get("Location", "")


def outsiders(here: World, away: World) -> dict[str, Client]:
    found = {f"foreign {role.value}": away.client(role.value) for role in Role}
    expired = here.client("lead")
    Login.objects.filter(session_key=expired.cookies[django_settings.SESSION_COOKIE_NAME].value).delete()
    holder = Client()
    holder.post(reverse("runs:shared_open", args=[here.share.public_id]), {"token": here.share_token})
    assert "rlmweb_share" in holder.cookies
    return {**found, "anonymous": Client(), "expired": expired, "link holder": holder}


def test_every_address_has_a_row_in_the_table() -> None:
    table = json.loads(TABLE.read_text())
    assert {route.path for route in ROUTES} == set(table), "look at who gets in, then add the row"


def test_who_is_let_in(worlds: tuple[World, World]) -> None:
    """In one go, because making two organisations costs more than asking for everything in them."""
    here, away = worlds
    table = json.loads(TABLE.read_text())
    inside = {role.value: here.client(role.value) for role in Role}
    outside = outsiders(here, away)
    wrong: list[str] = []
    for client in (*inside.values(), *(outside[f"foreign {role.value}"] for role in Role)):
        assert client.get("/").status_code == 200  # they are signed in, or being refused would say nothing
    for route in ROUTES:
        found: dict[str, list[str]] = {}
        for method in METHODS if route.path.startswith("api/") else METHODS[:2]:
            address = here.address(route)
            for role, client in inside.items():
                answer, _, _ = ask(client, method, address, stream=False)
                if answer.status_code >= 500:
                    wrong.append(f"{method} {route.name} as {role}: {answer.status_code}")
                if let_in(answer):
                    found.setdefault(method, []).append(role)
            for name, client in outside.items():
                said = _outside(ask(client, method, address), route, name, here.word)
                wrong += [f"{method} {route.name} as {name}: {each}" for each in said]
        if found != table.get(route.path):
            wrong.append(json.dumps({route.path: found}))
    for client in (*inside.values(), *(outside[f"foreign {role.value}"] for role in Role)):
        assert client.get("/").status_code == 200
    assert wrong == [], "\n".join(wrong)


def _outside(asked: tuple[Any, str, dict[str, int]], route: Route, name: str, word: str) -> list[str]:
    """What is wrong with the answer to somebody who has no business here."""
    answer, text, changed = asked
    if answer.status_code >= 500:
        return [f"{answer.status_code}"]
    if route.name in LINKS:
        return _of_a_link(answer, text, route, name, word)
    said = []
    if word in text:
        said.append("shows what is not theirs")
    if route.names_something and route.name not in NAME_NOTHING_OF_SOMEBODY:
        # The API looks at the body before it looks at what the address names.
        if let_in(answer) and answer.status_code != 422:
            said.append(f"let in with {answer.status_code}")
        if changed:
            said.append(f"writes to {sorted(changed)}")
    return said


def _of_a_link(answer: Any, text: str, route: Route, name: str, word: str) -> list[str]:
    """A link is opened by whoever holds it; the others get a page that says nothing."""
    said = [header for header, value in HEADERS.items() if answer.get(header, "") != value]
    if answer.get("Location", "").startswith("/login/"):
        return []  # a browser without a login is asked to sign in where there is nothing
    if name == "link holder" or not let_in(answer):
        return [f"lacks {header}" for header in said if header != "Cache-Control"]
    shows = route.name != "runs:shared" or "Open a shared run" not in text or word in text
    return [f"lacks {header}" for header in said] + (["opened without its token"] if shows else [])
