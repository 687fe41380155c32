"""Archives over the API: out as a stream, in through an upload and a job."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.test import Client

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import Role
from runs.access import Actor
from runs.models import Job, Session
from runs.replay.archive.responses import _threads
from runs.replay.archive.running import run_import  # noqa: F401  # registers its kind of job
from runs.replay.archive.workplace import workplace
from runs.services.jobs import run_job, stop_job
from tests.factories import make_team, make_user
from tests.runs.replay.archive.archives import export_to, make_rich

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"


@pytest.fixture
def source() -> Session:
    return make_rich()


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def streamed(response: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    try:
        return asyncio.run(collect())
    finally:
        response.close()


def uploaded(client: Client, data: bytes, **fields: object) -> str:
    body = {"name": "a.tar", "size_bytes": len(data), **fields}
    response = client.post("/api/v1/archives/uploads", body, JSON)
    assert response.status_code == 201, response.content
    ticket = str(response.json()["ticket"])
    part_bytes = response.json()["part_bytes"]
    for offset in range(0, len(data), part_bytes):
        part = data[offset : offset + part_bytes]
        headers = {"Upload-Ticket": ticket}
        address = f"/api/v1/contexts/uploads/part?offset={offset}"
        assert client.put(address, part, "application/octet-stream", headers=headers).status_code == 200
    return ticket


def imported(client: Client, ticket: str, query: str = "") -> Any:
    response = client.post(f"/api/v1/archives/imports{query}", headers={"Upload-Ticket": ticket})
    assert response.status_code == 201, response.content
    run_job(Job.objects.get(uuid=response.json()["uuid"]).uuid)
    return client.get(f"/api/v1/archives/imports/{response.json()['uuid']}").json()


def test_a_session_goes_out_and_comes_in(source: Session) -> None:
    viewer = make_user(source.team, Role.VIEWER)
    response = signed_in(viewer).get(f"/api/v1/sessions/{source.uuid}/archive")
    assert response["Content-Disposition"] == f'attachment; filename="session-{source.uuid}.rlmweb.tar"'
    data = streamed(response)
    entry = AuditEntry.objects.get(action="session.export")
    assert (entry.actor, entry.object_id) == (viewer.get_username(), str(source.uuid))
    client = signed_in(make_user(make_team()))
    said = imported(client, uploaded(client, data))
    assert (said["status"], said["created"], said["error"]) == ("finished", True, "")
    session = client.get(f"/api/v1/sessions/{said['session']}").json()
    assert session["answer"] == source.answer
    again = imported(client, uploaded(client, data))
    assert (again["session"], again["created"]) == (said["session"], False)
    assert imported(client, uploaded(client, data), "?again=true")["session"] != said["session"]
    assert list(workplace().iterdir()) == []


def test_an_export_that_nobody_reads_to_its_end_leaves_nothing(source: Session) -> None:
    assert source.created_by is not None
    response: Any = signed_in(source.created_by).get(f"/api/v1/sessions/{source.uuid}/archive")

    async def begin() -> bytes:
        async for chunk in response.streaming_content:
            return bytes(chunk)
        return b""

    assert asyncio.run(begin()).startswith(b"README.txt")
    response.close()
    wait_for_exports()
    assert list(workplace().iterdir()) == []


def wait_for_exports() -> None:
    """Until both threads have done what they had to do before this."""
    both = Barrier(2)
    for waiting in [_threads().submit(both.wait, 10) for _ in range(2)]:
        waiting.result(10)


def test_options_leave_out_snapshots_and_context(source: Session) -> None:
    assert source.created_by is not None
    client = signed_in(source.created_by)

    def exported(query: str) -> tarfile.TarFile:
        data = streamed(client.get(f"/api/v1/sessions/{source.uuid}/archive{query}"))
        return tarfile.open(fileobj=io.BytesIO(data))

    def length(archive: tarfile.TarFile, name: str) -> int:
        return archive.getmember(name).size

    context = f"blobs/{source.context.sha256}.zst"
    whole, bare, least = exported(""), exported("?snapshots=false"), exported("?context=false")
    assert length(whole, "snapshots.jsonl") > 0
    assert length(bare, "snapshots.jsonl") == length(least, "snapshots.jsonl") == 0
    assert [each.getnames()[-1] for each in (whole, bare, least)] == ["checksums.json"] * 3
    assert [context in each.getnames() for each in (whole, bare, least)] == [True, True, False]


def test_what_is_not_an_archive_is_refused_and_thrown_away(source: Session) -> None:
    client = signed_in(make_user(make_team()))
    said = imported(client, uploaded(client, b"not an archive " * 1000))
    assert (said["status"], said["session"]) == ("failed", None)
    assert "no archive of a session" in said["error"]
    assert list(workplace().iterdir()) == []


def test_a_stopped_import_makes_no_session(source: Session, tmp_path: Path) -> None:
    client = signed_in(make_user(make_team()))
    ticket = uploaded(client, export_to(tmp_path / "a", source).read_bytes())
    uuid = client.post("/api/v1/archives/imports", headers={"Upload-Ticket": ticket}).json()["uuid"]
    job = Job.objects.get(uuid=uuid)
    stop_job(job, actor=Actor(None, "test"))
    run_job(job.uuid)
    assert client.get(f"/api/v1/archives/imports/{uuid}").json()["status"] == "stopped"
    assert Session.objects.count() == 1


def test_a_worker_that_takes_over_finds_what_the_first_one_made(source: Session, tmp_path: Path) -> None:
    """The first died between the commit and the end of the job."""
    client = signed_in(make_user(make_team()))
    ticket = uploaded(client, export_to(tmp_path / "a", source).read_bytes())
    said = imported(client, ticket, "?again=true")
    Job.objects.filter(uuid=said["uuid"]).update(status=Job.Status.READY)
    run_job(Job.objects.get(uuid=said["uuid"]).uuid)
    assert client.get(f"/api/v1/archives/imports/{said['uuid']}").json()["session"] == said["session"]
    assert Session.objects.count() == 2


def test_who_may_what(source: Session, tmp_path: Path) -> None:
    stranger = signed_in(make_user(make_team()))
    assert stranger.get(f"/api/v1/sessions/{source.uuid}/archive").status_code == 404
    viewer = signed_in(make_user(source.team, Role.VIEWER))
    assert viewer.post("/api/v1/archives/uploads", {"size_bytes": 5}, JSON).status_code == 404
    body = {"size_bytes": 5, "team": str(source.team.uuid)}
    assert stranger.post("/api/v1/archives/uploads", body, JSON).status_code == 404
    assert source.created_by is not None
    mine = signed_in(source.created_by)
    ticket = uploaded(mine, b"12345")
    refused = stranger.post("/api/v1/archives/imports", headers={"Upload-Ticket": ticket})
    assert (refused.status_code, refused.json()["type"]) == (422, "invalid_upload")
    job = mine.post("/api/v1/archives/imports", headers={"Upload-Ticket": ticket}).json()
    assert stranger.get(f"/api/v1/archives/imports/{job['uuid']}").status_code == 404


def test_an_upload_for_something_else_or_half_of_one_is_not_taken(source: Session) -> None:
    assert source.created_by is not None
    client = signed_in(source.created_by)
    context = client.post("/api/v1/contexts/uploads", {"name": "x", "size_bytes": 5}, JSON).json()["ticket"]
    half = client.post("/api/v1/archives/uploads", {"size_bytes": 5}, JSON).json()["ticket"]
    for ticket, word in ((context, "not an archive"), (half, "byte 0 of 5")):
        response = client.post("/api/v1/archives/imports", headers={"Upload-Ticket": ticket})
        assert (response.status_code, response.json()["type"]) == (422, "invalid_upload")
        assert word in response.json()["message"]
