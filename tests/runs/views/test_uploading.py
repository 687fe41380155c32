"""Uploads as the page sends them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs import uploads
from runs.models import Context
from tests.cast import SEES, SIGNED_IN, STARTS, Cast, make_cast
from tests.factories import make_context

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast(settings: Any, tmp_path: Any) -> Cast:
    settings.UPLOAD_DIR = tmp_path
    return make_cast()


def begin(client: Client, size: int, **fields: str) -> Any:
    return client.post(reverse("runs:upload_begin"), {"name": "data.txt", "size_bytes": str(size), **fields})


def part(client: Client, ticket: str, offset: object, data: bytes) -> Any:
    headers = {"Upload-Ticket": ticket, "Upload-Offset": str(offset)}
    address = reverse("runs:upload_part")
    return client.post(address, data, content_type="application/octet-stream", headers=headers)


def finish(client: Client, ticket: str) -> Any:
    return client.post(reverse("runs:upload_finish"), headers={"Upload-Ticket": ticket})


def test_a_file_arrives_in_parts_and_becomes_a_context(cast: Cast) -> None:
    client, data = cast.client("researcher"), b"0123456789" * 1000
    ticket = begin(client, len(data)).json()["ticket"]
    assert part(client, ticket, 0, data[:4000]).json() == {"received_bytes": 4000}
    again = part(client, ticket, 0, data[:4000])
    assert (again.status_code, again.json()["received_bytes"]) == (409, 4000)
    early = finish(client, ticket)
    assert (early.status_code, early.json()["received_bytes"]) == (409, 4000)
    assert part(client, ticket, 4000, data[4000:]).json() == {"received_bytes": 10_000}
    done = finish(client, ticket)
    context = Context.objects.get(uuid=done.json()["context"])
    assert done.status_code == 201
    assert (context.name, context.source, context.size_bytes, context.team) == ("data.txt", "upload", 10_000, cast.team)
    assert list(uploads.upload_dir().iterdir()) == []
    assert finish(client, ticket).status_code == 422


def test_what_cannot_be_taken_is_said_in_words(cast: Cast, settings: Any) -> None:
    client = cast.client("researcher")
    settings.UPLOAD_MAX_BYTES = 100
    for size in ("0", "101", "", "x", "9" * 40):
        response = client.post(reverse("runs:upload_begin"), {"name": "n", "size_bytes": size})
        assert response.status_code == 422
        assert response.json()["message"]
    ticket = begin(client, 3, kind="json").json()["ticket"]
    assert part(client, ticket, "x", b"abc").status_code == 422
    part(client, ticket, 0, b"abc")
    refused = finish(client, ticket)
    assert (refused.status_code, "not JSON" in refused.json()["message"]) == (422, True)
    assert list(uploads.upload_dir().iterdir()) == []


def test_a_cancelled_upload_leaves_nothing(cast: Cast) -> None:
    client = cast.client("researcher")
    ticket = begin(client, 10).json()["ticket"]
    assert client.post(reverse("runs:upload_cancel"), headers={"Upload-Ticket": ticket}).status_code == 200
    assert list(uploads.upload_dir().iterdir()) == []
    assert part(client, ticket, 0, b"x").status_code == 422


@pytest.mark.parametrize("name", SIGNED_IN)
def test_uploading_is_for_those_who_start_sessions(cast: Cast, name: str) -> None:
    assert begin(cast.client(name), 3).status_code == (201 if name in STARTS else 404)


def test_an_upload_is_only_for_who_began_it(cast: Cast) -> None:
    ticket = begin(cast.client("researcher"), 3).json()["ticket"]
    assert part(cast.client("mate"), ticket, 0, b"abc").status_code == 422
    assert finish(cast.client("stranger"), ticket).status_code == 422


@pytest.mark.parametrize("route", ["upload_begin", "upload_part", "upload_finish", "upload_cancel"])
def test_uploads_need_a_session_and_the_token_of_a_page(cast: Cast, route: str) -> None:
    assert cast.client("anonymous").post(reverse(f"runs:{route}")).status_code == 302
    client = cast.client("researcher")
    assert client.get(reverse(f"runs:{route}")).status_code == 405
    client.handler.enforce_csrf_checks = True
    assert client.post(reverse(f"runs:{route}")).status_code == 403


@pytest.mark.parametrize("name", ["viewer", "mate", "auditor", "stranger", "superuser"])
def test_a_preview_is_for_the_team(cast: Cast, name: str) -> None:
    context = make_context(cast.team, text="<b>alpha</b>")
    response = cast.client(name).get(reverse("runs:context_preview", args=[context.uuid]))
    assert response.status_code == (200 if name in SEES else 404)
    if name in SEES:
        assert "&lt;b&gt;alpha&lt;/b&gt;" in response.content.decode()
