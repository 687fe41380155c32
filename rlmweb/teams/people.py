"""Who belongs where: roles given, changed and taken, with their entries in the log.

A role in a team and a role in an organisation are given apart; a person may hold one of each. Nobody gives what the own
role does not reach, and an organisation keeps at least one owner.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.text import slugify

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import (
    ORGANISATION_ROLES,
    TEAM_ROLES,
    ApiToken,
    ContentGrant,
    Membership,
    Organisation,
    OrganisationMembership,
    Role,
    Team,
)
from rlmweb.teams.permissions import Permission, allows
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act, Facts


class NotPossible(ValueError):
    """What was asked for breaks a rule; the text says which one, for the person who asked."""


def may_give(by: Any, role: str, organisation: Organisation, team: Team | None) -> bool:
    """May `by` give or take this role here?"""
    if role == Role.OWNER:
        return allows(by, Permission.KEEP_OWNERS, organisation)
    if team is not None and allows(by, Permission.KEEP_TEAM, team):
        return True
    return allows(by, Permission.KEEP_PEOPLE, organisation)


@transaction.atomic
def give_role(
    user: Any, role: str, organisation: Organisation, team: Team | None, *, by: Any, invitation: UUID | None = None
) -> None:
    """Set the role of `user` in the team, or with no team in the organisation. Raises `NotPossible`.

    The role of an invitation was decided by who sent it, if that person may still give it.
    """
    if (team is None) != (role in ORGANISATION_ROLES) or (team is not None and role not in TEAM_ROLES):
        raise NotPossible("This role is held elsewhere: in a team, or in the organisation.")
    if by is None or not may_give(by, role, organisation, team):
        raise NotPossible(f"{by or 'Who invited you'} may not give the role {Role(role).label} any more.")
    before = _role_of(user, organisation, team)
    if before == Role.OWNER and not allows(by, Permission.KEEP_OWNERS, organisation):
        raise NotPossible("Only owners change the roles of owners.")
    if team is not None:
        Membership.objects.update_or_create(team=team, user=user, defaults={"role": role})
    else:
        OrganisationMembership.objects.update_or_create(organisation=organisation, user=user, defaults={"role": role})
    _keep_an_owner(organisation, had_owner=before == Role.OWNER)
    _audit("role.give", user, by, organisation, team, before, role, invitation)


@transaction.atomic
def take_role(user: Any, organisation: Organisation, team: Team | None, *, by: Any) -> None:
    """Take the role in the team, or in the organisation. Raises `NotPossible`."""
    before = _role_of(user, organisation, team)
    if not before:
        return
    if not may_give(by, before, organisation, team) and by != user:
        raise NotPossible(f"Your role does not take the role {Role(before).label} away.")
    if team is not None:
        Membership.objects.filter(team=team, user=user).delete()
        ApiToken.objects.filter(team=team, user=user).delete()
        ContentGrant.objects.filter(team=team, user=user).delete()
    else:
        OrganisationMembership.objects.filter(organisation=organisation, user=user).delete()
    _keep_an_owner(organisation, had_owner=before == Role.OWNER)
    _audit("role.take", user, by, organisation, team, before, "", None)


@transaction.atomic
def add_team(organisation: Organisation, name: str, *, by: Any) -> Team:
    """A team without members; who adds it gives its roles next. Raises `NotPossible`."""
    if not allows(by, Permission.KEEP_PEOPLE, organisation):
        raise NotPossible("Admins and owners add teams.")
    slug = slugify(name)[:50]
    if not slug:
        raise NotPossible("The name needs a letter or a digit.")
    if Team.objects.filter(slug=slug).exists():
        raise NotPossible(f"There is a team named like this already ({slug}).")
    team = Team.objects.create(organisation=organisation, name=name, slug=slug)
    audit(
        "team.add",
        actor=by.get_username(),
        object_type="team",
        object_id=team.uuid,
        team_uuid=team.uuid,
        particulars=Particulars(object_label=name[:200]),
    )
    return team


def require_second_factor(organisation: Organisation, required: bool, *, by: Any, source: str = "web") -> None:
    """From now on roles count only for people with a second factor, or not. Raises `NotPossible`, `PolicyRefused`."""
    if not allows(by, Permission.SET_RULES, organisation):
        raise NotPossible("Admins and owners change this.")
    if not required:
        facts = Facts(organisation, by.get_username(), source, has_second_factor=False)
        require(Act.LOWER_FACTOR, facts)
    _write_second_factor(organisation, required, by=by)


@transaction.atomic
def _write_second_factor(organisation: Organisation, required: bool, *, by: Any) -> None:
    before, organisation.require_mfa = organisation.require_mfa, required
    organisation.save(update_fields=["require_mfa"])
    audit(
        "organisation.change",
        actor=by.get_username(),
        object_type="organisation",
        object_id=organisation.uuid,
        team_uuid=organisation.uuid,
        particulars=Particulars(changes={"require_mfa": [before, required]}),
    )


def _role_of(user: Any, organisation: Organisation, team: Team | None) -> str:
    held: Any = (
        Membership.objects.filter(team=team, user=user)
        if team is not None
        else OrganisationMembership.objects.filter(organisation=organisation, user=user)
    )
    row = held.select_for_update().first()
    return row.role if row is not None else ""


def _keep_an_owner(organisation: Organisation, *, had_owner: bool) -> None:
    """Under the organisation's row lock, so that two owners cannot leave at the same moment."""
    if not had_owner:
        return
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    owners = OrganisationMembership.objects.filter(organisation=organisation, role=Role.OWNER, user__is_active=True)
    if not owners.exists():
        raise NotPossible("An organisation keeps at least one owner. Make somebody else an owner first.")


def _audit(
    action: str,
    user: Any,
    by: Any,
    organisation: Organisation,
    team: Team | None,
    before: str,
    after: str,
    invitation: UUID | None,
) -> None:
    audit(
        action,
        actor=by.get_username(),
        object_type="user",
        object_id=str(user.pk),
        team_uuid=team.uuid if team is not None else organisation.uuid,
        particulars=Particulars(changes={"role": [before, after]}),
        details={"invitation": str(invitation)} if invitation else {},
    )
