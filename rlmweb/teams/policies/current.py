"""Which policy holds in an organisation now. Nothing is remembered between two questions."""

from __future__ import annotations

from dataclasses import dataclass

from rlmweb.teams.models import Organisation, OrganisationPolicy
from rlmweb.teams.policies.profiles import DEFAULT_PROFILE, UnknownProfile, profile_named, rules_with
from rlmweb.teams.policies.rules import BadRules, Rules


@dataclass(frozen=True, slots=True)
class Policy:
    """`rules` None: the stored document cannot be read (a later release wrote it, or somebody changed it by hand), so
    nothing is allowed until it is set again; `problem` says why."""

    profile: str
    version: int
    rules: Rules | None
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.profile}/{self.version}"


def policy_of(organisation: Organisation) -> Policy:
    row = OrganisationPolicy.objects.filter(organisation=organisation).order_by("-version").first()
    if row is None:
        return Policy(DEFAULT_PROFILE, 0, profile_named(DEFAULT_PROFILE))
    return read_policy(row)


def read_policy(row: OrganisationPolicy) -> Policy:
    """Of any version, newest or not."""
    try:
        return Policy(row.profile, row.version, rules_with(row.profile, row.document))
    except (BadRules, UnknownProfile, TypeError) as error:
        return Policy(row.profile, row.version, None, str(error))
