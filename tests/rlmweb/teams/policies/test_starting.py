"""Starting a session and keeping keys, through the entrances that people have."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import OrganisationPolicy
from runs.form_limits import initial_values
from runs.models import Job, LmCredential, Session
from runs.replay.reexecution.running import REEXECUTE
from runs.services.jobs import run_job
from sandboxes.models import ProviderAccount
from tests.cast import Cast, make_cast
from tests.factories import make_context

pytestmark = pytest.mark.django_db
TOUR = {"root": {"api": "scripted", "model": "scripted:tour"}}
MODELS_ONLY_HERE = {"model_hosts": [{"host": "models.example.org"}]}


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def forbid(cast: Cast, **document: Any) -> None:
    OrganisationPolicy.objects.create(organisation=cast.team.organisation, version=1, profile="open", document=document)


def refusal() -> tuple[str, str, str]:
    """(source, act, rule) of the one entry."""
    entry = AuditEntry.objects.get(action="policy.refuse")
    return entry.source, entry.document["details"]["act"], entry.document["details"]["rule"]


def test_the_form_says_it_beside_the_field(cast: Cast) -> None:
    forbid(cast, isolation="gvisor")
    sent = {name: value for name, value in initial_values().items() if value is not None}
    sent |= {"question": "How many?", "source": "paste", "text": "alpha", "root": "scripted:tour", "sub": "same"}
    sent |= {"provider": "local", "compaction": "on"}
    response = cast.client("researcher").post(reverse("runs:session_new"), sent)
    assert response.status_code == 422
    assert "gvisor or stronger" in str(response.context["form"].errors["provider"])
    assert refusal() == ("web", "start a session", "isolation")


def test_the_api_says_which_rule(cast: Cast) -> None:
    forbid(cast, providers=["e2b"])
    body = {"question": "How many?", "context": str(make_context(cast.team).uuid), "config": TOUR}
    response = cast.client("researcher").post("/api/v1/sessions", body, "application/json")
    assert (response.status_code, response.json()["hint"]) == (403, "rule=providers")
    assert refusal() == ("api", "start a session", "providers")
    assert Session.objects.count() == 1  # that of the cast


def test_the_command_ends_with_the_reason(cast: Cast, tmp_path: Any) -> None:
    forbid(cast, providers=[])
    text = tmp_path / "text"
    text.write_text("alpha")
    asked = ("--question", "?", "--context", str(text), "--model", "scripted:tour", "--detach")
    with pytest.raises(CommandError, match="Sandbox providers"):
        call_command("run_session", *asked, "--user", cast.people["researcher"].username)
    assert refusal() == ("cli", "start a session", "providers")


@pytest.mark.parametrize(("base_url", "status"), [("", 403), ("https://models.example.org/v1", 302)])
def test_keys_for_models_are_kept_for_allowed_endpoints_only(
    cast: Cast, settings: Any, base_url: str, status: int
) -> None:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    settings.MODEL_HOSTS = ("models.example.org",)
    forbid(cast, **MODELS_ONLY_HERE)
    sent = {"team": cast.team.slug, "name": "Ours", "api": "openai", "key": "sk-1234567890abcdef", "base_url": base_url}
    assert cast.client("lead").post(reverse("runs:keys"), sent).status_code == status
    assert LmCredential.objects.exists() is (status == 302)


def test_keys_for_sandboxes_wait_for_the_attestation(cast: Cast) -> None:
    forbid(cast, attestations=["BAA"])
    sent = {"team": cast.team.slug, "e2b-api_key": "e2b_1234567890"}
    assert cast.client("lead").post(reverse("runs:account_save", args=["e2b"]), sent).status_code == 403
    assert not ProviderAccount.objects.exists()
    assert refusal() == ("web", "keep a key for sandboxes", "attestations")


def test_what_was_begun_before_the_policy_is_asked_about_when_a_worker_does_it(cast: Cast) -> None:
    researcher = cast.client("researcher")
    address = f"/api/v1/sessions/{cast.session.uuid}/reexecutions"
    assert researcher.post(address, {}, "application/json").status_code == 201
    forbid(cast, providers=[])
    job = Job.objects.get(kind=REEXECUTE)
    run_job(job.uuid)
    job.refresh_from_db()
    assert (job.status, "Sandbox providers" in job.error_message) == ("failed", True)
    assert refusal()[0] == "worker"
