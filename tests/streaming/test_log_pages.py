"""The event log over HTTP, and the pages of long texts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient, Client

from rlmweb.teams.models import Membership
from runs.blobs import blob_store
from runs.events import record
from runs.events.read import PAGE_EVENTS
from runs.events.types import Log
from runs.models import Session
from runs.stream.database import in_thread
from tests.factories import make_session, make_team, make_user
from tests.recorded import make_recorded_session, record_events, write_trajectory
from tests.stored import blob_file
from tests.trajectories import grown, tour

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def researcher(db: None) -> Any:
    return make_user(make_team())


@pytest.fixture
def session(researcher: Any) -> Session:
    return make_session(Membership.objects.get(user=researcher).team)


async def fetch(user: Any, path: str, **headers: str) -> tuple[Any, bytes]:
    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    response: Any = await client.get(path, headers=headers)
    # The test client keeps the connection of Django's thread open, which nobody else would close.
    await sync_to_async(connections.close_all)()
    if response.streaming:
        return response, b"".join([chunk async for chunk in response.streaming_content])
    return response, response.content


def events_path(session: Session, query: str = "") -> str:
    return f"/sessions/{session.uuid}/events.jsonl{query}"


@pytest.mark.django_db(transaction=True)
class TestLog:
    async def test_it_has_every_event_in_order(self, session: Session, researcher: Any) -> None:
        log = grown(400)
        await in_thread(write_trajectory, session, log)
        response, body = await fetch(researcher, events_path(session))
        lines = [json.loads(line) for line in body.splitlines()]
        assert response["X-Last-Seq"] == str(len(log.events))
        assert [line["seq"] for line in lines] == list(range(1, len(log.events) + 1))
        assert len(lines) > PAGE_EVENTS

    async def test_a_part_of_it_can_be_asked_for(self, session: Session, researcher: Any) -> None:
        await in_thread(write_trajectory, session, tour())
        _, body = await fetch(researcher, events_path(session, "?after=10&limit=5"))
        assert [json.loads(line)["seq"] for line in body.splitlines()] == [11, 12, 13, 14, 15]

    async def test_it_is_compressed_for_who_can_read_that(self, session: Session, researcher: Any) -> None:
        await in_thread(write_trajectory, session, grown(300))
        response, packed = await fetch(researcher, events_path(session), **{"accept-encoding": "gzip, br"})
        _, plain = await fetch(researcher, events_path(session))
        assert response["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
        assert len(packed) < len(plain) / 4

    async def test_it_can_be_saved_under_a_name(self, session: Session, researcher: Any) -> None:
        response, _ = await fetch(researcher, events_path(session, "?download=1"))
        assert response["Content-Disposition"] == f'attachment; filename="session-{session.uuid}.jsonl"'

    @pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?limit=1e3", "?after=" + "9" * 30, "?after=²"])
    async def test_a_number_that_is_none_is_refused_in_words(
        self, session: Session, researcher: Any, query: str
    ) -> None:
        response, body = await fetch(researcher, events_path(session, query))
        assert response.status_code == 400
        assert b"must be a whole number" in body

    async def test_only_the_team_may_read_it(self, session: Session) -> None:
        stranger = await in_thread(lambda: make_user(make_team()))
        for user in (None, stranger):
            response, _ = await fetch(user, events_path(session))
            assert response.status_code == 404


# Long texts -----------------------------------------------------------------------------------------------------------


def with_long_text(session: Session, text: str) -> str:
    """Record `text` and return its hash."""
    record_events(session, Log(level="info", message="begin"))
    stored = blob_store().put(text.encode())
    record.note_blobs(session.pk, [stored])
    return stored.sha256


def blob_path(session: Session, sha256: str, query: str = "") -> str:
    return f"/sessions/{session.uuid}/blobs/{sha256}{query}"


def read_pages(client: Client, session: Session, sha256: str, length: int) -> list[str]:
    pages, offset = [], "0"
    while offset:
        response = client.get(blob_path(session, sha256, f"?offset={offset}&length={length}"))
        assert response.status_code == 200
        pages.append(response.content.decode())
        offset = response.get("X-Next-Offset", "")
    return pages


@pytest.mark.parametrize("text", ["x" * 40, "ü" * 41, "a€" * 19, "\U0001d4b3y" * 13, ""])
def test_a_long_text_comes_in_pages_that_end_between_characters(
    client: Client, session: Session, researcher: Any, text: str
) -> None:
    sha256 = with_long_text(session, text)
    client.force_login(researcher)
    for length in (4, 7, 64):
        pages = read_pages(client, session, sha256, length)
        assert "".join(pages) == text
        assert max(len(page.encode()) for page in pages) <= length


def test_a_text_that_is_markup_is_served_as_text(client: Client, session: Session, researcher: Any) -> None:
    sha256 = with_long_text(session, "<script>alert(1)</script>")
    client.force_login(researcher)
    response = client.get(blob_path(session, sha256))
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Size-Bytes"] == "25"


def test_a_text_of_another_session_is_not_found(client: Client, session: Session, researcher: Any) -> None:
    other = make_session()
    sha256 = with_long_text(other, "not yours")
    client.force_login(researcher)
    assert client.get(blob_path(session, sha256)).status_code == 404
    assert client.get(blob_path(other, sha256)).status_code == 404


@pytest.mark.parametrize("name", ["0" * 64, "..", "Z" * 64, "a" * 63])
def test_a_name_that_is_no_hash_is_not_found(client: Client, session: Session, researcher: Any, name: str) -> None:
    client.force_login(researcher)
    assert client.get(blob_path(session, name)).status_code == 404


@pytest.mark.parametrize("query", ["?offset=-5", "?length=3", "?length=262145", "?offset=many"])
def test_a_page_outside_the_bounds_is_refused_in_words(
    client: Client, session: Session, researcher: Any, query: str
) -> None:
    sha256 = with_long_text(session, "text")
    client.force_login(researcher)
    response = client.get(blob_path(session, sha256, query))
    assert response.status_code == 400
    assert b"must be a whole number" in response.content


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_of_a_session_says_what_was_asked(client: Client, session: Session, researcher: Any) -> None:
    client.force_login(researcher)
    response = client.get(f"/sessions/{session.uuid}/")
    assert response.status_code == 200
    assert session.question in response.content.decode()
    assert response.context["may_stop"] is False


def test_who_started_a_session_may_stop_it(client: Client, researcher: Any) -> None:
    team = Membership.objects.get(user=researcher).team
    own = make_session(team, created_by=researcher)
    client.force_login(researcher)
    assert client.get(f"/sessions/{own.uuid}/").context["may_stop"] is True


def test_the_page_of_a_hostile_session_holds_no_markup_of_it(client: Client, researcher: Any) -> None:
    team = Membership.objects.get(user=researcher).team
    evil = "<script>alert(1)</script>"
    session = make_recorded_session(tour(), team, title=evil, question=evil)
    client.force_login(researcher)
    assert evil not in client.get(f"/sessions/{session.uuid}/").content.decode()


def test_who_is_not_signed_in_is_asked_to_and_comes_back(client: Client, session: Session) -> None:
    response = client.get(f"/sessions/{session.uuid}/")
    assert response.status_code == 302
    assert response["Location"].endswith(f"?next=/sessions/{session.uuid}/")


def test_a_stranger_and_a_wrong_address_get_the_same_answer(client: Client, session: Session) -> None:
    client.force_login(make_user(make_team()))
    for uuid in (session.uuid, UNKNOWN):
        assert client.get(f"/sessions/{uuid}/").status_code == 404


def test_the_page_stays_small(client: Client, researcher: Any) -> None:
    team = Membership.objects.get(user=researcher).team
    session = make_recorded_session(grown(1000), team)
    client.force_login(researcher)
    assert len(client.get(f"/sessions/{session.uuid}/").content) < 40_000


def test_a_store_that_is_away_and_a_damaged_text_are_told_apart(
    client: Client, session: Session, researcher: Any, settings: Any, tmp_path: Path
) -> None:
    settings.BLOB_DIR = tmp_path / "blobs"
    client.force_login(researcher)
    sha256 = with_long_text(session, "a long text " * 100)
    path = blob_file(sha256)
    path.write_bytes(b"damaged")
    response = client.get(blob_path(session, sha256))
    assert (response.status_code, response.content) == (500, b"This text is damaged in the store.")
    settings.BLOB_STORE_URL = (path / "no folder").as_uri()
    response = client.get(blob_path(session, sha256))
    assert response.status_code == 503
    assert str(tmp_path).encode() not in response.content
