"""Pages of archives: the download, the form, the import and its end."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from rlmweb.teams.models import Role
from runs import uploads
from runs.models import Job, Session
from runs.replay.archive.running import run_import  # noqa: F401  # registers its kind of job
from runs.services.jobs import run_job
from tests.cast import SEES, SIGNED_IN, make_cast
from tests.factories import make_team, make_user
from tests.runs.replay.archive.archives import export_to, make_rich

pytestmark = pytest.mark.django_db(transaction=True)
FORM = "/sessions/import/"


def streamed(response: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    return asyncio.run(collect())


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    return export_to(tmp_path / "a.tar", make_rich()).read_bytes()


def send(client: Client, data: bytes, **fields: str) -> Any:
    """The form as a browser without JavaScript sends it, and what a worker makes of it."""
    response = client.post(FORM, {"file": SimpleUploadedFile("a.rlmweb.tar", data), **fields})
    assert response.status_code == 302, response.content
    run_job(Job.objects.latest("pk").uuid)
    return client.get(response["Location"])


def test_a_session_is_exported_from_its_page_and_imported_in_another_team() -> None:
    source = make_rich()
    assert source.created_by is not None
    mine = signed_in(source.created_by)
    page = mine.get(f"/sessions/{source.uuid}/").content.decode()
    assert f'action="/sessions/{source.uuid}/archive/"' in page
    data = streamed(mine.get(f"/sessions/{source.uuid}/archive/"))
    least = streamed(mine.get(f"/sessions/{source.uuid}/archive/?leave_out=snapshots&leave_out=context"))
    assert len(least) < len(data)
    client = signed_in(make_user(make_team()))
    page = send(client, data).content.decode()
    session = Session.objects.latest("pk")
    assert "Imported</h1>" in page
    assert f'href="/sessions/{session.uuid}/"' in page
    header = client.get(f"/sessions/{session.uuid}/").content.decode()
    assert f"Imported from testserver, where it is session <code>{source.uuid}</code>" in header
    assert str(source.uuid) in client.get(f"/sessions/{session.uuid}/lineage/").content.decode()
    assert "Here already</h1>" in send(client, data).content.decode()
    assert "Imported</h1>" in send(client, data, again="on").content.decode()


def test_a_refused_archive_says_why(archive: bytes) -> None:
    page = send(signed_in(make_user(make_team())), archive[:-600]).content.decode()
    assert "Not imported</h1>" in page
    assert "was not written to its end" in page or "in the middle" in page


def test_the_page_asks_again_while_the_import_runs(archive: bytes) -> None:
    client = signed_in(make_user(make_team()))
    response = client.post(FORM, {"file": SimpleUploadedFile("a.tar", archive)})
    address = response["Location"]
    page = client.get(address).content.decode()
    assert "data-refresh-ms" in page
    assert "Waiting for a worker" in page
    part = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="import"')
    assert client.post(f"{address}stop/")["Location"] == address
    assert "Stopped</h1>" in client.get(address).content.decode()


def test_parts_of_an_upload_end_in_an_import(archive: bytes) -> None:
    client = signed_in(make_user(make_team()))
    begun = client.post("/contexts/uploads/", {"name": "a.tar", "kind": "archive", "size_bytes": len(archive)}).json()
    headers = {"Upload-Ticket": begun["ticket"], "Upload-Offset": "0"}
    finish = reverse("runs:import_finish")
    early = client.post(finish, headers=headers)
    assert (early.status_code, early.json()["received_bytes"]) == (409, 0)
    client.post("/contexts/uploads/part/", archive, "application/octet-stream", headers=headers)
    response = client.post(finish, headers=headers)
    assert response.status_code == 201
    assert re.fullmatch(r"/imports/[0-9a-f-]{36}/", response.json()["address"])
    assert client.post(finish, headers=headers).status_code == 422


def test_a_large_file_of_a_form_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 1000)
    client = signed_in(make_user(make_team()))
    page = send(client, b"x" * 4567).content.decode()
    assert "no archive of a session" in page


def test_a_form_without_a_file_says_so() -> None:
    response = signed_in(make_user(make_team())).post(FORM)
    assert response.status_code == 422
    assert "Choose the file" in response.content.decode()


@pytest.mark.parametrize("name", SIGNED_IN)
def test_who_sees_a_session_may_export_it(name: str) -> None:
    cast = make_cast()
    response = cast.client(name).get(reverse("runs:session_archive", args=[cast.session.uuid]))
    assert response.status_code == (200 if name in SEES else 404)
    response.close()


def test_an_import_is_seen_by_whoever_started_it(archive: bytes) -> None:
    team = make_team()
    client = signed_in(make_user(team))
    address = client.post(FORM, {"file": SimpleUploadedFile("a.tar", archive)})["Location"]
    mate = signed_in(make_user(team, Role.LEAD))
    assert mate.get(address).status_code == 404
    assert mate.post(f"{address}stop/").status_code == 404
    other = client.post(FORM, {"file": SimpleUploadedFile("a.tar", archive), "team": make_team().slug})
    assert other.status_code == 404
