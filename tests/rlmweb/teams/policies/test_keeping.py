"""Versions of a policy: who sets them, what they say, what stays."""

from __future__ import annotations

import pytest

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import OrganisationPolicy
from rlmweb.teams.people import NotPossible, require_second_factor
from rlmweb.teams.policies.current import policy_of
from rlmweb.teams.policies.deciding import decide
from rlmweb.teams.policies.enforcing import PolicyRefused
from rlmweb.teams.policies.facts import Act, Facts
from rlmweb.teams.policies.keeping import set_policy
from rlmweb.teams.policies.profiles import HIPAA, OPEN
from tests.cast import Cast, make_cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def test_without_a_row_the_profile_open_holds(cast: Cast) -> None:
    policy = policy_of(cast.team.organisation)
    assert (str(policy), policy.rules) == ("open/0", OPEN)


def test_a_version_holds_the_changes_against_its_profile_and_the_history_stays(cast: Cast) -> None:
    organisation, owner = cast.team.organisation, cast.people["owner"]
    # What equals the profile is no change.
    set_policy(organisation, "regulated", {"link_days": 5, "idle_minutes": 30, "second_factor": False}, by=owner)
    set_policy(organisation, "team", {}, by=owner)
    rows = list(OrganisationPolicy.objects.filter(organisation=organisation).order_by("version"))
    assert [(row.version, row.profile, row.document) for row in rows] == [
        (1, "regulated", {"link_days": 5, "second_factor": False}),
        (2, "team", {}),
    ]
    assert str(policy_of(organisation)) == "team/2"
    assert AuditEntry.objects.filter(action="policy.set").count() == 2


@pytest.mark.parametrize(
    "document", [{"link_dayz": 5}, {"link_days": "soon"}, {"network": "wide"}, {"model_hosts": [{"host": "a b"}]}, []]
)
def test_what_no_rule_knows_is_refused_and_when_it_is_stored_nothing_is_allowed(cast: Cast, document: object) -> None:
    organisation = cast.team.organisation
    if isinstance(document, dict):
        with pytest.raises(NotPossible):
            set_policy(organisation, "open", document, by=cast.people["owner"])
    OrganisationPolicy.objects.create(organisation=organisation, version=1, profile="open", document=document)
    for act in Act:
        decision = decide(act, Facts(organisation, "somebody", "web"))
        assert (decision.allowed, decision.rule) == (False, "policy")


@pytest.mark.parametrize("name", ["viewer", "researcher", "lead", "auditor", "stranger", "superuser", "inactive"])
def test_only_admins_and_owners_set_it(cast: Cast, name: str) -> None:
    with pytest.raises(NotPossible):
        set_policy(cast.team.organisation, "open", {}, by=cast.people[name])


def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten(cast: Cast) -> None:
    organisation, owner = cast.team.organisation, cast.people["owner"]
    set_policy(organisation, "team", {}, by=owner, expected_version=0)
    with pytest.raises(NotPossible, match="version 1 holds now"):
        set_policy(organisation, "open", {}, by=owner, expected_version=0)


def test_a_second_factor_that_the_policy_asks_for_cannot_be_made_optional(cast: Cast) -> None:
    organisation, owner = cast.team.organisation, cast.people["owner"]
    set_policy(organisation, "team", {}, by=owner)
    require_second_factor(organisation, False, by=owner)
    OrganisationPolicy.objects.create(organisation=organisation, version=2, profile="hipaa")
    assert policy_of(organisation).rules == HIPAA
    with pytest.raises(PolicyRefused, match="Second factor"):
        require_second_factor(organisation, False, by=owner)
    assert AuditEntry.objects.get(action="policy.refuse").outcome == "denied"


def test_setting_a_policy_with_a_second_factor_asks_everybody_for_one(cast: Cast) -> None:
    organisation, owner = cast.team.organisation, cast.people["owner"]
    set_policy(organisation, "regulated", {}, by=owner)
    organisation.refresh_from_db()
    assert organisation.require_mfa
