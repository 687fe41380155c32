"""The auditor's pages: who sees what, and that they work."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from rlmweb.audit.checkpoints import make_due_checkpoints, public_key
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, StagedRead
from rlmweb.audit.record import record
from tests.cast import SIGNED_IN, Cast, make_cast

pytestmark = pytest.mark.django_db(transaction=True)
WHOLE = ("lead", "auditor", "admin", "owner", "superuser")
"""The lead because it is all of the one team."""


@pytest.fixture
def cast(settings: Any, tmp_path: Path) -> Cast:
    settings.AUDIT_KEY_FILE = tmp_path / "checkpoint.key"
    settings.AUDIT_CHECKPOINT_DIR = tmp_path
    found = make_cast()
    for name in ("researcher", "mate"):
        record(
            "session.stop",
            actor=found.people[name].username,
            object_type="session",
            object_id=f"of-{name}",
            team_uuid=found.team.uuid,
            details={"text": "<script>alert(1)</script>"},
        )
    return found


@pytest.mark.parametrize("name", SIGNED_IN)
def test_everybody_sees_what_is_theirs(cast: Cast, name: str) -> None:
    answer = cast.client(name).get(reverse("audit:log"), {"chain": str(cast.team.organisation.uuid)})
    if name == "stranger":
        assert answer.status_code == 404
        return
    page = answer.content.decode()
    for who in ("researcher", "mate"):
        assert (f"of-{who}" in page) == (name in WHOLE or name == who)
    assert "<script>alert" not in page


@pytest.mark.parametrize("name", ["viewer", "researcher", "mate", "lead", "admin", "stranger", "anonymous"])
def test_only_auditors_and_owners_verify_and_export(cast: Cast, name: str) -> None:
    client = cast.client(name)
    chain = cast.team.organisation.uuid
    wanted = 302 if name == "anonymous" else 404
    assert client.post(reverse("audit:verify", args=[chain])).status_code == wanted
    assert client.get(reverse("audit:export", args=[chain, "jsonl"])).status_code == wanted


def test_one_click_verifies(cast: Cast) -> None:
    answer = cast.client("auditor").post(reverse("audit:verify", args=[cast.team.organisation.uuid]))
    assert "Intact." in answer.content.decode()
    assert AuditEntry.objects.get(action="audit.verify").details["state"] == "intact"


@pytest.mark.parametrize(("form", "status"), [("jsonl", 200), ("csv", 200), ("cef", 200), ("ocsf", 200), ("x", 404)])
def test_exports_download(cast: Cast, form: str, status: int) -> None:
    answer: Any = cast.client("auditor").get(reverse("audit:export", args=[cast.team.organisation.uuid, form]))
    assert answer.status_code == status
    if status == 200:
        assert b"of-mate" in answer.getvalue()


def test_filters_narrow(cast: Cast) -> None:
    mate = cast.people["mate"].username
    query = {"chain": str(cast.team.organisation.uuid), "actor": mate, "action": "session.stop", "outcome": "success"}
    page = cast.client("auditor").get(reverse("audit:log"), query).content.decode()
    assert "of-mate" in page
    assert "of-researcher" not in page
    assert cast.client("auditor").get(reverse("audit:log"), {"since": "nonsense"}).status_code == 200


def test_the_verifier_can_be_had(cast: Cast) -> None:
    answer = cast.client("auditor").get(reverse("audit:verifier"))
    compile(answer.content.decode(), "verify_audit.py", "exec")


def test_reading_a_session_is_staged_and_a_denial_is_an_entry(cast: Cast) -> None:
    address = reverse("runs:session", args=[cast.session.uuid])
    assert cast.client("viewer").get(address).status_code == 200
    assert str(cast.session.uuid) in StagedRead.objects.get().body
    assert cast.client("stranger").get(address).status_code == 404
    denied = AuditEntry.objects.get(action="access.deny")
    assert (denied.outcome, denied.actor) == ("denied", cast.people["stranger"].username)
    assert denied.chain == cast.team.organisation.uuid


def test_signing_in_and_out_and_failing_to_is_recorded(cast: Cast) -> None:
    client = cast.client("anonymous")
    client.post(reverse("account_login"), {"login": "root", "password": "wrong"})
    assert AuditEntry.objects.get(action="user.sign_in_refused").chain == INSTANCE_CHAIN
    client.force_login(cast.people["viewer"])
    client.post(reverse("logout"))
    assert AuditEntry.objects.filter(action="user.sign_out").count() == 1


def test_an_unanchored_chain_is_not_praised_too_much(cast: Cast) -> None:
    address = reverse("audit:verify", args=[cast.team.organisation.uuid])
    assert "no signed checkpoint" in cast.client("auditor").post(address).content.decode()
    make_due_checkpoints()
    page = cast.client("auditor").post(address).content.decode()
    assert "1 signed checkpoint agree" in page
    assert base64.b64encode(public_key()).decode() in page


def test_a_change_in_the_admin_pages_is_recorded(cast: Cast) -> None:
    address = reverse("admin:teams_team_add")
    cast.client("superuser").post(
        address,
        {
            "name": "New",
            "organisation": str(cast.team.organisation.pk),
            "slug": "new",
            "memberships-TOTAL_FORMS": "0",
            "memberships-INITIAL_FORMS": "0",
        },
    )
    entry = AuditEntry.objects.get(action="admin.add")
    assert (entry.source, entry.actor) == ("admin", cast.people["superuser"].username)
