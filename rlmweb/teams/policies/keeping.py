"""Changing a policy: a new version, with its entry in the log. Nothing of the history is ever rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Organisation, OrganisationPolicy
from rlmweb.teams.people import NotPossible, require_second_factor
from rlmweb.teams.permissions import Permission, allows
from rlmweb.teams.policies.current import Policy, policy_of
from rlmweb.teams.policies.profiles import UnknownProfile, profile_named, rules_with
from rlmweb.teams.policies.rules import BadRules, rules_to_plain


def draft(organisation: Organisation, profile: str, values: Mapping[str, Any]) -> tuple[Policy, dict[str, Any]]:
    """The policy that `set_policy` would make of these values, and its document. Raises `NotPossible`."""
    try:
        rules = rules_with(profile, values)
        own = rules_to_plain(profile_named(profile))
    except (BadRules, UnknownProfile) as error:
        raise NotPossible(str(error)) from error
    plain = rules_to_plain(rules)
    document = {name: value for name, value in plain.items() if value != own[name]}
    return Policy(profile, policy_of(organisation).version + 1, rules), document


@transaction.atomic
def set_policy(
    organisation: Organisation, profile: str, values: Mapping[str, Any], *, by: Any, expected_version: int | None = None
) -> OrganisationPolicy:
    """The profile with these rules changed holds from now on, for what runs already as well. Raises `NotPossible`.

    `expected_version`: what the person was shown; somebody else's change since then is not overwritten.
    """
    if not allows(by, Permission.SET_RULES, organisation):
        raise NotPossible("Admins and owners change the policy.")
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    before = policy_of(organisation)
    if expected_version is not None and expected_version != before.version:
        raise NotPossible(
            f"Somebody changed the policy meanwhile: version {before.version} holds now. Look at it first."
        )
    after, document = draft(organisation, profile, values)
    row = OrganisationPolicy.objects.create(
        organisation=organisation, version=after.version, profile=profile, document=document, set_by=by
    )
    audit(
        "policy.set",
        actor=by.get_username(),
        object_type="organisation",
        object_id=organisation.uuid,
        team_uuid=organisation.uuid,
        particulars=Particulars(policy=str(after), changes=_changes(before, after)),
    )
    assert after.rules is not None
    if after.rules.second_factor and not organisation.require_mfa:
        require_second_factor(organisation, True, by=by)
    return row


def _changes(before: Policy, after: Policy) -> dict[str, Any]:
    assert after.rules is not None
    old = rules_to_plain(before.rules) if before.rules is not None else {}
    new = rules_to_plain(after.rules)
    changed: dict[str, Any] = {name: [old.get(name), new[name]] for name in new if old.get(name) != new[name]}
    return {"profile": [str(before), str(after)], **changed}
