"""The store's page, pins and deleting in the browser, and the same over the API: for whom, and what they say."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from runs.models import Session, StoreRun
from runs.store.running import do_run
from sandboxes.models import Snapshot
from tests.cast import SEES, SIGNED_IN, Cast, make_cast
from tests.factories import make_session
from tests.runs.api.test_api import Caller
from tests.snapshotted import make_node, make_snapshot, variable

pytestmark = pytest.mark.django_db
DELETES = ("researcher", "lead")
PINS = ("researcher", "mate", "lead")


@pytest.fixture
def cast(settings: Any, tmp_path: Any) -> Cast:
    settings.DATA_DIR = tmp_path
    settings.BLOB_DIR = tmp_path / "blobs"
    settings.UPLOAD_DIR = tmp_path / "uploads"
    cast = make_cast()
    Session.objects.filter(pk=cast.session.pk).update(status=Session.Status.FINISHED)
    cast.session.refresh_from_db()
    node = make_node(cast.session, steps=2)
    make_snapshot(node, 1, [variable("x", 1)])
    make_snapshot(node, 2, [variable("x", 2)])
    return cast


def url(name: str, *args: Any) -> str:
    return reverse(f"runs:{name}", args=args)


@pytest.mark.parametrize("name", SIGNED_IN)
def test_the_store_is_for_the_staff(cast: Cast, name: str) -> None:
    allowed = name == "superuser"
    client = cast.client(name)
    assert client.get(url("store")).status_code == (200 if allowed else 404)
    assert client.get(url("store_runs")).status_code == (200 if allowed else 404)
    assert client.post(url("store_collect"), {"what": "look"}).status_code == (302 if allowed else 404)
    assert StoreRun.objects.count() == int(allowed)
    assert (url("store") in client.get(url("status")).content.decode()) == allowed


def test_who_is_not_signed_in_is_asked_to(cast: Cast) -> None:
    anonymous = cast.client("anonymous")
    for name in ("store", "store_runs"):
        assert anonymous.get(url(name)).status_code == 302
    for address in (url("session_pin", cast.session.uuid), url("session_delete", cast.session.uuid)):
        assert anonymous.post(address).status_code == 302
    assert Session.objects.filter(pk=cast.session.pk, pinned=False).exists()


def test_the_page_says_what_would_go_and_what_went(cast: Cast) -> None:
    client = cast.client("superuser")
    empty = client.get(url("store")).content.decode()
    assert "Nobody has looked yet" in empty
    assert "There was none yet" in empty
    client.post(url("store_collect"), {"what": "look"})
    waiting = client.get(url("store_runs")).content.decode()
    assert "data-refresh-ms" in waiting
    again = client.post(url("store_collect"), {"what": "look"}, follow=True).content.decode()
    assert "at it already" in again
    do_run(StoreRun.objects.get().uuid)
    client.post(url("store_collect"), {"what": "collect"})
    do_run(StoreRun.objects.get(dry_run=False).uuid)
    page = client.get(url("store")).content.decode()
    assert "would go now" in page
    assert "went just now" in page
    assert "data-refresh-ms" not in page


def test_a_failed_run_is_told(cast: Cast) -> None:
    hostile = "OSError: <script>alert(1)</script>"
    for dry_run in (True, False):
        StoreRun.objects.create(dry_run=dry_run, policy={}, status="failed", error_message=hostile, asked_by="x")
    page = cast.client("superuser").get(url("store")).content.decode()
    assert "The look failed" in page
    assert "It failed" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("name", SIGNED_IN)
def test_pins_are_for_those_who_may_start(cast: Cast, name: str) -> None:
    client, may = cast.client(name), name in PINS
    response = client.post(url("session_pin", cast.session.uuid), {"pinned": "1"})
    assert response.status_code == (302 if may else 404)
    assert Session.objects.get(pk=cast.session.pk).pinned == may
    response = client.post(url("snapshot_pin", cast.session.uuid, 0, 1), {"pinned": "1"})
    assert response.status_code == (302 if may else 404)
    assert Snapshot.objects.get(step_number=1).pinned == may
    if name in SEES:
        page = client.get(url("session", cast.session.uuid)).content.decode()
        assert (url("session_pin", cast.session.uuid) in page) == may


def test_pins_are_shown_where_sessions_and_snapshots_are(cast: Cast) -> None:
    client = cast.client("researcher")
    client.post(url("session_pin", cast.session.uuid), {"pinned": "1"})
    client.post(url("snapshot_pin", cast.session.uuid, 0, 1), {"pinned": "1"})
    assert ">pinned<" in client.get("/").content.decode()
    assert ">pinned<" in client.get(url("session", cast.session.uuid)).content.decode()
    state = client.get(url("snapshot", cast.session.uuid, 0, 1)).content.decode()
    assert ", pinned" in state
    assert "Unpin" in state
    client.post(url("session_pin", cast.session.uuid), {"pinned": "0"})
    assert ">pinned<" not in client.get("/").content.decode()


def test_a_snapshot_that_is_not_there_cannot_be_pinned(cast: Cast) -> None:
    response = cast.client("researcher").post(url("snapshot_pin", cast.session.uuid, 0, 7), {"pinned": "1"})
    assert response.status_code == 409
    assert "no snapshot of step 7" in response.content.decode()


@pytest.mark.parametrize("name", SIGNED_IN)
def test_a_session_is_deleted_by_who_started_it_and_those_above(cast: Cast, name: str) -> None:
    client, may, address = cast.client(name), name in DELETES, url("session_delete", cast.session.uuid)
    page = client.get(address)
    assert page.status_code == (200 if may else 404)
    if may:
        assert "2 snapshots" in page.content.decode()
    assert Session.objects.filter(pk=cast.session.pk).exists()
    assert client.post(address).status_code == (302 if may else 404)
    assert Session.objects.filter(pk=cast.session.pk).exists() != may
    if may:
        assert client.get(url("session", cast.session.uuid)).status_code == 404


def test_a_running_session_is_not_deleted_and_the_page_says_why(cast: Cast) -> None:
    running = make_session(cast.team, created_by=cast.people["lead"], title="<b>running</b>")
    client, address = cast.client("lead"), url("session_delete", running.uuid)
    page = client.get(address).content.decode()
    assert "Stop it first" in page
    assert "Delete the session</button>" not in page
    assert "<b>running" not in page
    assert client.post(address).status_code == 409
    assert Session.objects.filter(pk=running.pk).exists()
    assert client.get(url("session_delete", uuid4())).status_code == 404


# The same over the API -------------------------------------------------------------------------------------------------


def test_the_api_pins_and_deletes(cast: Cast) -> None:
    call, path = Caller(cast, "researcher"), f"/sessions/{cast.session.uuid}"
    assert call("PUT", f"{path}/pin", {"pinned": True}).json() == {"pinned": True}
    assert call("GET", path).json()["pinned"] is True
    refused = call("DELETE", path)
    assert (refused.status_code, refused.json()["type"]) == (409, "cannot_delete")
    assert "Unpin" in refused.json()["message"]
    call("PUT", f"{path}/pin", {"pinned": False})
    pinned = call("PUT", f"{path}/nodes/0/steps/1/snapshot/pin", {"pinned": True})
    assert pinned.json()["pinned"] is True
    assert call("PUT", f"{path}/nodes/0/steps/9/snapshot/pin", {"pinned": True}).status_code == 409
    call("PUT", f"{path}/nodes/0/steps/1/snapshot/pin", {"pinned": False})
    assert call("DELETE", path).status_code == 204
    assert call("DELETE", path).status_code == 404


@pytest.mark.parametrize("name", ["viewer", "auditor", "stranger"])
def test_the_api_refuses_others(cast: Cast, name: str) -> None:
    call, path = Caller(cast, name), f"/sessions/{cast.session.uuid}"
    assert call("PUT", f"{path}/pin", {"pinned": True}).status_code == 404
    assert call("DELETE", path).status_code == 404
    assert call("GET", "/store").status_code == 404
    assert call("POST", "/store/collections", {}).status_code == 404
    assert not StoreRun.objects.exists()


def test_the_api_tells_the_staff_what_is_kept(cast: Cast) -> None:
    call = Caller(cast, "superuser")
    asked = call("POST", "/store/collections", {"older_than_days": 3})
    assert (asked.status_code, asked.json()["dry_run"], asked.json()["status"]) == (202, True, "ready")
    assert call("POST", "/store/collections", {"older_than_days": -1}).status_code == 422
    do_run(StoreRun.objects.get().uuid)
    found = call("GET", "/store").json()
    assert found["holds"]["contexts"]["count"] == 1
    assert found["holds"]["snapshots"]["count"] == 2
    assert found["last"] is None
    assert found["last_dry_run"]["report"]["used"]["count"] >= 1
    assert found["last_dry_run"]["policy"]["snapshot_days"] == 3
