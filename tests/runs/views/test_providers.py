"""A team's sandbox providers: keys, order, attestations, and which of them fit."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from runs.form_config import SAME
from runs.form_limits import initial_values
from sandboxes.accounts.keeping import order_of
from sandboxes.accounts.opening import secrets_of
from sandboxes.models import ProviderAccount, ProviderAttestation, SandboxRecord
from sandboxes.vendors import VENDORS
from tests.cast import STARTS, Cast, make_cast

pytestmark = pytest.mark.django_db
SECRET = "nf-live-0123456789abcdef"
KEEPS = ("lead", "admin", "owner")


@pytest.fixture
def cast(settings: Any) -> Cast:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    return make_cast()


def save(cast: Cast, who: str = "lead", name: str = "northflank", **fields: Any) -> Any:
    entered = {"api_token": SECRET, "project": "rlm", **fields}
    data = {"team": cast.team.slug, **{f"{name}-{field}": value for field, value in entered.items()}}
    return cast.client(who).post(reverse("runs:account_save", args=[name]), data)


def test_a_key_is_stored_sealed_and_never_shown_again(cast: Cast) -> None:
    assert save(cast).status_code == 302
    account = ProviderAccount.objects.get()
    assert SECRET.encode() not in bytes(account.secrets_encrypted)
    assert secrets_of(account) == {"api_token": SECRET}
    assert account.options == {"project": "rlm"}
    page = cast.client("lead").get(reverse("runs:providers")).content.decode()
    assert "...cdef" in page
    assert SECRET not in page
    entry = AuditEntry.objects.get(action="provider_account.add")
    assert (entry.object_id, SECRET in str(entry.details)) == (str(account.uuid), False)


def test_an_empty_secret_stays_and_another_address_needs_it_again(cast: Cast) -> None:
    save(cast)
    assert save(cast, api_token="", project="other").status_code == 302
    account = ProviderAccount.objects.get()
    assert (account.options["project"], secrets_of(account)["api_token"]) == ("other", SECRET)
    moved = save(cast, api_token="", base_url="https://eu.northflank.com")
    assert moved.status_code == 422
    assert "for one address" in moved.content.decode()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"api_token": ""}, "required"),
        ({"project": ""}, "required"),
        ({"base_url": "http://169.254.169.254/"}, "RLMWEB_PROVIDER_HOSTS"),
        ({"base_url": "http://api.northflank.com"}, "RLMWEB_PROVIDER_HOSTS"),
        ({"base_url": "https://api.northflank.com.evil.example"}, "RLMWEB_PROVIDER_HOSTS"),
        ({"base_url": "https://a@api.northflank.com"}, "must be plain"),
        ({"base_url": "file:///etc/passwd"}, "must start with https"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_key_does_not_come_back(
    cast: Cast, fields: dict[str, str], message: str
) -> None:
    response = save(cast, **fields)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert SECRET not in response.content.decode()
    assert not ProviderAccount.objects.exists()


def test_an_address_that_the_installation_allows_is_taken(cast: Cast, settings: Any) -> None:
    settings.PROVIDER_HOSTS = ("sandboxes.internal:8443",)
    assert save(cast, base_url="https://sandboxes.internal:8443/").status_code == 302
    assert ProviderAccount.objects.get().options["base_url"] == "https://sandboxes.internal:8443"


@pytest.mark.parametrize("who", ["anonymous", "viewer", "researcher", "auditor", "stranger", "superuser", "inactive"])
def test_only_those_who_keep_keys_change_anything(cast: Cast, who: str) -> None:
    save(cast)
    account = ProviderAccount.objects.get()
    attestation = attest(cast)
    client, team = cast.client(who), {"team": cast.team.slug}
    for address, data in (
        (reverse("runs:account_save", args=["daytona"]), {**team, "daytona-api_key": "k", "daytona-target": "us"}),
        (reverse("runs:account_check", args=[account.uuid]), {}),
        (reverse("runs:account_remove", args=[account.uuid]), {}),
        (reverse("runs:provider_order"), {**team, "first": "northflank"}),
        (reverse("runs:attestation_add"), {**team, **ATTESTATION}),
        (reverse("runs:attestation_remove", args=[attestation.uuid]), {}),
    ):
        assert client.post(address, data).status_code in (302, 404)
    assert ProviderAccount.objects.get().checked_at is None
    assert ProviderAttestation.objects.count() == 1
    assert order_of(cast.team) == ["local"]


@pytest.mark.parametrize("who", STARTS)
def test_whoever_starts_sessions_sees_the_page(cast: Cast, who: str) -> None:
    page = cast.client(who).get(reverse("runs:providers"))
    assert page.status_code == 200
    for vendor in VENDORS.values():
        assert vendor.title in page.content.decode()


def test_a_key_with_running_sandboxes_is_not_removed(cast: Cast) -> None:
    save(cast)
    account = ProviderAccount.objects.get()
    record = SandboxRecord.objects.create(
        provider="northflank", account=account, ref="{}", session_uuid=uuid4(), node_uuid=uuid4()
    )
    client, address = cast.client("lead"), reverse("runs:account_remove", args=[account.uuid])
    assert "1 sandboxes run on this key" in client.post(address, follow=True).content.decode()
    record.state = SandboxRecord.State.TERMINATED
    record.save()
    client.post(address)
    assert not ProviderAccount.objects.exists()
    assert AuditEntry.objects.filter(action="provider_account.delete").count() == 1


def test_the_order_is_stored_and_names_each_provider_once(cast: Cast) -> None:
    client, address = cast.client("lead"), reverse("runs:provider_order")
    data = {"team": cast.team.slug, "first": "northflank", "second": "local"}
    assert client.post(address, data).status_code == 302
    assert order_of(cast.team) == ["northflank", "local"]
    assert client.post(address, {**data, "third": "local"}).status_code == 422
    form = client.get(reverse("runs:session_new")).content.decode()
    assert '<option value="northflank" selected>' in form


ATTESTATION = {"provider": "northflank", "kind": "BAA", "scope": "Sandboxes in eu", "valid_until": "2999-01-01"}


def attest(cast: Cast, **changed: str) -> ProviderAttestation:
    data = {"team": cast.team.slug, **ATTESTATION, **changed}
    cast.client("lead").post(reverse("runs:attestation_add"), data)
    return ProviderAttestation.objects.latest("pk")


def test_an_attestation_counts_until_its_last_day(cast: Cast) -> None:
    save(cast)
    needs = {"need_attestations": "BAA"}
    assert "no valid record of BAA" in fits(cast, needs)["Northflank"]
    row = attest(cast)
    assert "fits" in fits(cast, needs)["Northflank"]
    ProviderAttestation.objects.filter(pk=row.pk).update(valid_until="2020-01-01")
    assert "no valid record of BAA" in fits(cast, needs)["Northflank"]
    response = cast.client("lead").post(reverse("runs:attestation_add"), {**ATTESTATION, "valid_until": "2020-01-01"})
    assert "That day is over" in response.content.decode()


def fits(cast: Cast, needs: dict[str, str], status: int = 200) -> dict[str, str]:
    """The rows of the table by the provider's title."""
    response = cast.client("researcher").post(reverse("runs:providers_fit"), needs)
    assert response.status_code == status
    text = response.content.decode()
    rows = [row for row in text.split("<tr>") if "<td>" in row]
    return {row.split("<td>")[1].split("</td>")[0]: row for row in rows} or {"": text}


def test_why_a_provider_does_not_fit_is_said_before_anything_is_spent(cast: Cast) -> None:
    save(cast)
    gpu = fits(cast, {"need_gpu": "H100"})
    assert "chip good" in gpu["Northflank"]
    assert "no NVIDIA GPU" in gpu["This machine"]
    assert "no key" in gpu["Daytona"]
    assert "more than 0.0001" in fits(cast, {"need_max_usd_per_hour": "0.0001"})["Northflank"]
    assert "not known" in fits(cast, {"need_gpu": "H100", "need_max_usd_per_hour": "100"})["Northflank"]
    assert "cannot keep running processes" in fits(cast, {"need_memory_snapshot": "on"})["Northflank"]
    assert "NO-SUCH" in fits(cast, {"need_gpu": "NO-SUCH"})["Northflank"]


@pytest.mark.parametrize(
    "bad", [{"need_cpu": "many"}, {"need_gpu_count": "99"}, {"need_isolation": "magic"}, {"need_hosts": "a b, c"}]
)
def test_bad_needs_are_an_error_that_names_the_field(cast: Cast, bad: dict[str, str]) -> None:
    text = fits(cast, bad, 422)[""]
    assert next(iter(bad)).removeprefix("need_") in text or "sandbox" in text


def test_a_session_that_no_provider_can_run_is_not_started(cast: Cast) -> None:
    client = cast.client("researcher")
    data = {name: value for name, value in initial_values().items() if value is not None}
    data |= {"source": "example", "example": "s-niah", "root": "scripted:tour", "sub": SAME, "provider": "northflank"}
    response = client.post(reverse("runs:session_new"), data)
    assert response.status_code == 422
    assert "has no key for it" in response.content.decode()


@pytest.mark.parametrize("text", ["{", "[1, 2]", "4"])
def test_json_that_is_none_is_refused(cast: Cast, text: str) -> None:
    data = {"team": cast.team.slug, "e2b-api_key": "e2b_0123456789abcdef", "e2b-templates": text}
    response = cast.client("lead").post(reverse("runs:account_save", args=["e2b"]), data)
    assert response.status_code == 422
    assert "JSON" in response.content.decode()


def test_templates_are_kept_as_they_are_entered(cast: Cast) -> None:
    data = {"team": cast.team.slug, "e2b-api_key": "e2b_0123456789abcdef", "e2b-templates": '{"big": [4, 8192]}'}
    client = cast.client("lead")
    assert client.post(reverse("runs:account_save", args=["e2b"]), data).status_code == 302
    assert ProviderAccount.objects.get().options["templates"] == {"big": [4, 8192]}
    assert "&quot;big&quot;: [4, 8192]" in client.get(reverse("runs:providers")).content.decode()
    needs = {"need_cpu": "4"}
    assert "chip good" in fits(cast, needs)["E2B"] or "memory_mb" in fits(cast, needs)["E2B"]
