"""Sessions under a policy: before they start, before each step and each model call, and when it changes meanwhile."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import transaction

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import OrganisationPolicy, Role, Team
from rlmweb.teams.policies.current import Policy
from rlmweb.teams.policies.enforcing import PolicyRefused, require
from rlmweb.teams.policies.facts import Act, ModelFacts
from rlmweb.teams.policies.profiles import HIPAA, OPEN
from runs.access import Actor
from runs.models import Session
from runs.services import policy_facts
from runs.services.config import ModelConfig, SessionConfig, config_to_plain
from runs.services.policy import LmForbidden, ModelGuard, count_refused, require_step, stop_forbidden
from runs.services.policy_facts import facts_in, host_of
from runs.services.sessions import start_session
from sandboxes.models import ProviderAttestation
from tests.factories import make_context, make_session, make_team, make_user, scripted_config
from tests.runs.services.inline import run_until

pytestmark = pytest.mark.django_db(transaction=True)
OUTSIDE = ModelConfig(api="openai", model="gpt", base_url="https://models.example.org/v1")


def set_rules(team: Team, profile: str = "open", **document: Any) -> None:
    version = OrganisationPolicy.objects.filter(organisation=team.organisation).count() + 1
    OrganisationPolicy.objects.create(
        organisation=team.organisation, version=version, profile=profile, document=document
    )


def start(team: Team, config: SessionConfig | None = None) -> Session:
    actor = Actor(make_user(team, Role.RESEARCHER), "web")
    return start_session(
        actor=actor, team=team, question="?", context=make_context(team), config=config or scripted_config()
    )


def refusals() -> list[tuple[str, str]]:
    """(act, rule) of each entry."""
    found = []
    for entry in AuditEntry.objects.filter(action="policy.refuse").order_by("pk"):
        assert entry.outcome == "denied"
        details = entry.document["details"]
        found.append((details["act"], details["rule"]))
    return found


def test_a_session_keeps_under_which_policy_it_started() -> None:
    team = make_team()
    assert start(team).policy == {"profile": "open", "version": 0, "data_class": "public"}
    set_rules(team, "team")
    assert start(team).policy == {"profile": "team", "version": 1, "data_class": "internal"}


def test_a_start_that_is_forbidden_leaves_an_entry_and_no_session() -> None:
    team = make_team()
    set_rules(team, "hipaa")
    with pytest.raises(PolicyRefused, match=r"gvisor or stronger.*Isolation of sandboxes.*Admins and owners"):
        start(team)
    assert not Session.objects.filter(team=team).exists()
    assert refusals() == [(Act.START, "isolation")]


def test_a_session_that_runs_stops_before_its_next_step_when_the_policy_changes() -> None:
    team = make_team()
    session = start(team)
    set_rules(team, providers=[])

    def over() -> bool:
        session.refresh_from_db()
        return session.status != Session.Status.RUNNING

    run_until(over)
    assert (session.status, session.error_type) == (Session.Status.STOPPED, "PolicyRefused")
    assert "Sandbox providers" in session.error_message
    assert refusals() == [(Act.STEP, "providers")]


def test_an_attestation_that_expires_ends_what_runs_and_the_entry_names_it() -> None:
    team = make_team()
    config = scripted_config(provider="e2b")
    session = make_session(team, config=config_to_plain(config))
    held = {"team": team, "provider": "e2b", "kind": "BAA", "scope": "all"}
    row = ProviderAttestation.objects.create(valid_until=date.today() + timedelta(days=2), **held)
    set_rules(team, attestations=["BAA"])
    require_step(session)
    row.valid_until = date.today() - timedelta(days=2)
    row.save()
    with pytest.raises(PolicyRefused, match="no BAA from e2b that is valid today"):
        require_step(session)


def test_the_clock_ends_sessions_that_wait() -> None:
    team, free = make_team(), make_team()
    session, other = start(team), start(free)
    set_rules(team, providers=[])
    assert stop_forbidden() == 1
    session.refresh_from_db()
    other.refresh_from_db()
    assert (session.status, other.status) == (Session.Status.STOPPED, Session.Status.RUNNING)
    assert stop_forbidden() == 0


def test_a_model_that_is_not_on_the_list_is_not_asked_and_the_log_says_so_once() -> None:
    team = make_team()
    session = make_session(team, config=config_to_plain(scripted_config()))
    set_rules(team, model_hosts=[{"host": "*.example.net"}])
    guard = ModelGuard(session)
    guard.require(scripted_config().root)
    for _ in range(3):
        with pytest.raises(LmForbidden, match=r"not at models\.example\.org"):
            guard.require(OUTSIDE)
    assert refusals() == [(Act.MODEL_CALL, "model_hosts")]


def test_a_session_keeps_the_rules_of_its_class_when_the_policy_gets_laxer() -> None:
    team = make_team()
    session = make_session(team, config=config_to_plain(scripted_config()), policy={"data_class": "phi"})
    with pytest.raises(PolicyRefused, match=r"open/0\+hipaa"):
        require_step(session)


def test_the_preview_counts_running_sessions_that_would_be_refused() -> None:
    team = make_team()
    start(team)
    start(team)
    start(make_team())
    assert count_refused(team.organisation, Policy("hipaa", 1, HIPAA)) == 2
    assert count_refused(team.organisation, Policy("open", 1, OPEN)) == 0


def test_a_refusal_inside_of_a_transaction_is_a_mistake_of_the_program() -> None:
    team = make_team()
    set_rules(team, "hipaa")
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        require(Act.EXPORT, facts_in(team, Actor(None, "web")))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://API.example.org/v1", "api.example.org"),
        ("https://api.example.org:443/", "api.example.org"),
        ("http://gpu-box:8000/v1", "gpu-box:8000"),
        ("https://user:secret@api.example.org./", "api.example.org"),
        ("https://api.example.org:port", ""),
        ("", ""),
    ],
)
def test_hosts_of_addresses(url: str, host: str) -> None:
    assert host_of(url) == host


def test_facts_of_local_models_name_no_host() -> None:
    assert policy_facts.model_of(scripted_config().root).local
    assert policy_facts.model_of(OUTSIDE) == ModelFacts("gpt", "models.example.org")
