"""The page of the policy: who sees it, who changes it, and what its preview says."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import OrganisationPolicy
from rlmweb.teams.policies.forms import PolicyForm, initial_of
from rlmweb.teams.policies.profiles import PROFILES, TEAM, rules_with
from rlmweb.teams.policies.rules import rules_from
from runs.models import Rollout
from runs.services.config import config_to_plain
from tests.cast import SIGNED_IN, Cast, make_cast
from tests.factories import make_session, scripted_config

pytestmark = pytest.mark.django_db
HTML = {"accept": "text/html"}
SEES_RULES = ("viewer", "researcher", "mate", "lead", "auditor", "admin", "owner")
SETS_RULES = ("admin", "owner")


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def address(cast: Cast, name: str = "policy") -> str:
    return reverse(f"teams:{name}", args=[cast.team.organisation.slug])


def form_data(profile: str = "team", version: int = 0, **changes: Any) -> dict[str, Any]:
    initial = {**initial_of(profile, version, PROFILES.get(profile, TEAM)), **changes}
    return {name: "" if value is None else value for name, value in initial.items()}


@pytest.mark.parametrize("name", [*SIGNED_IN, "inactive"])
def test_members_see_it_and_only_admins_and_owners_change_it(cast: Cast, name: str) -> None:
    client = cast.client(name)
    page = client.get(address(cast))
    assert page.status_code == (200 if name in SEES_RULES else 302 if name == "inactive" else 404)
    if page.status_code == 200:
        assert (b"policy-form" in page.content) is (name in SETS_RULES)
    for act in ("policy_preview", "policy_set"):
        status = client.post(address(cast, act), form_data()).status_code
        allowed = 200 if act == "policy_preview" else 302
        assert status == (allowed if name in SETS_RULES else 302 if name == "inactive" else 404)
    assert OrganisationPolicy.objects.exists() is (name in SETS_RULES)


def test_the_preview_says_what_would_be_refused_and_writes_nothing(cast: Cast) -> None:
    config = config_to_plain(scripted_config())
    make_session(cast.team, config=config)
    cast.session.config = config
    cast.session.save()
    page = cast.client("owner").post(address(cast, "policy_preview"), form_data("hipaa")).content.decode()
    assert "2 running sessions would be refused" in page
    assert "Isolation of sandboxes" in page
    assert not OrganisationPolicy.objects.exists()
    mild = cast.client("owner").post(address(cast, "policy_preview"), form_data("team")).content.decode()
    assert "Nothing that runs now would be refused" in mild


def test_what_is_set_stands_in_the_history_and_in_the_log(cast: Cast) -> None:
    client: Client = cast.client("owner")
    changes: dict[str, Any] = {
        "model_hosts": "api.example.org keeps-nothing\ngpu:8000",
        "link_days": 3,
        "idle_minutes": "",
    }
    assert client.post(address(cast, "policy_set"), form_data("team", **changes)).status_code == 302
    row = OrganisationPolicy.objects.get()
    assert row.document == {
        "model_hosts": [
            {"host": "api.example.org", "zero_retention": True},
            {"host": "gpu:8000", "zero_retention": False},
        ],
        "link_days": 3,
    }
    page = client.get(address(cast)).content.decode()
    assert "api.example.org (keeps nothing), gpu:8000" in page
    assert "3 days" in page
    entry = AuditEntry.objects.get(action="policy.set")
    assert entry.document["changes"]["link_days"] == [None, 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "lax"},
        {"model_hosts": "api.example.org please"},
        {"network_hosts": "https://example.org/"},
        {"link_days": 0},
        {"idle_minutes": "often"},
        {"providers": "<b>"},
        {"attestations": "x" * 65},
        {"version": 7},
    ],
)
def test_what_no_rule_is_made_of_is_refused_with_a_reason(cast: Cast, changes: dict[str, Any]) -> None:
    response = cast.client("owner").post(address(cast, "policy_set"), form_data(**changes))
    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode()
    assert not OrganisationPolicy.objects.exists()


@pytest.mark.parametrize("profile", list(PROFILES))
def test_the_form_of_a_profile_gives_back_the_profile(profile: str) -> None:
    form = PolicyForm(form_data(profile))
    assert form.is_valid(), form.errors
    assert rules_with(profile, form.values()) == PROFILES[profile]
    assert rules_from({**form.values()}) == PROFILES[profile]


def test_an_export_that_needs_a_reason_asks_for_it_and_keeps_it(cast: Cast) -> None:
    OrganisationPolicy.objects.create(
        organisation=cast.team.organisation, version=1, profile="open", document={"export_reason": True}
    )
    client, archive = cast.client("researcher"), f"/sessions/{cast.session.uuid}/archive/"
    archive = reverse("runs:session_archive", args=[cast.session.uuid])
    asked = client.get(archive, headers=HTML)
    assert asked.status_code == 403
    assert 'name="reason"' in asked.content.decode()
    assert AuditEntry.objects.get(action="policy.refuse").document["details"]["act"] == "export a session"
    assert client.get(archive, {"reason": "for the yearly review"}, headers=HTML).status_code == 200
    assert AuditEntry.objects.get(action="session.export").document["reason"] == "for the yearly review"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_results_of_a_rollout_leave_with_a_reason_only(cast: Cast, form: str) -> None:
    OrganisationPolicy.objects.create(
        organisation=cast.team.organisation, version=1, profile="open", document={"export_reason": True}
    )
    rollout = Rollout.objects.create(
        session=cast.session, node_number=0, steps=[0], branches_per_step=1, scorer={"kind": "exact", "expected": "x"}
    )
    address = reverse("runs:rollout_export", args=[rollout.uuid, form])
    client = cast.client("researcher")
    assert client.get(address).status_code == 403
    assert client.get(address, {"reason": "for the yearly review"}).status_code == 200
    entry = AuditEntry.objects.get(action="session.export").document
    assert (entry["reason"], entry["details"]["form"]) == ("for the yearly review", form)
