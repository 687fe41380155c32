"""Who may do what where: the one decision behind every page, API operation, websocket, task and command.

Everything else asks `allows`, `teams_with` or `organisations_with`; nothing else reads a membership to decide. The table
is `GRANTS`. Roles take effect, and end, at once: nothing here is remembered between two questions.

No role both acts and erases the trace, and auditors write nothing but holds. Admins and owners do not see content by their
role; see `rlmweb.teams.grants` for the two ways to see it for a while.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AuthUser
from django.db.models import CharField, Exists, Q, QuerySet, Value
from django.utils import timezone

from rlmweb.teams.models import (
    ApiToken,
    ContentGrant,
    Membership,
    Organisation,
    OrganisationMembership,
    Role,
    Team,
)

User = AuthUser | AnonymousUser
Scope = ApiToken.Scope


class Permission(StrEnum):
    """`own` acts concern what the person started; the caller compares."""

    SEE_CONTENT = "see content"
    SEE_FACTS = "see facts"
    """That sessions exist, their status, counts and cost; nothing that somebody or a model wrote."""
    START = "start"
    """And use keys; stop, edit and delete one's own."""
    EVALUATE = "evaluate"
    COMMENT = "comment"
    STOP_ANY = "stop any"
    DELETE_ANY = "delete any"
    SHARE = "share"
    """With a team or the organisation."""
    SHARE_PUBLIC = "share publicly"
    KEEP_KEYS = "keep keys"
    READ_TEAM_AUDIT = "read the team's audit log"
    READ_AUDIT = "read the audit log"
    PROVE_AUDIT = "export and verify the audit log"
    HOLD = "place holds"
    ERASE = "purge and erase"
    SEE_RULES = "see quotas, providers and policies"
    SET_RULES = "set quotas, providers and policies"
    SEE_PEOPLE = "see people"
    KEEP_TEAM = "keep the team's people"
    KEEP_PEOPLE = "keep people"
    KEEP_OWNERS = "keep owners"
    GRANT_CONTENT = "grant a look at content"
    BREAK_GLASS = "emergency access"


_P = Permission
_VIEWER = {_P.SEE_CONTENT, _P.SEE_FACTS, _P.COMMENT, _P.SEE_RULES}
_RESEARCHER = _VIEWER | {_P.START, _P.EVALUATE, _P.SHARE}
_LEAD = _RESEARCHER | {
    _P.STOP_ANY,
    _P.DELETE_ANY,
    _P.SHARE_PUBLIC,
    _P.KEEP_KEYS,
    _P.READ_TEAM_AUDIT,
    _P.SEE_PEOPLE,
    _P.KEEP_TEAM,
}
_AUDITOR = {_P.SEE_FACTS, _P.READ_AUDIT, _P.PROVE_AUDIT, _P.HOLD, _P.SEE_RULES, _P.SEE_PEOPLE}
_ADMIN = {
    _P.SEE_FACTS,
    _P.STOP_ANY,
    _P.KEEP_KEYS,
    _P.READ_AUDIT,
    _P.SEE_RULES,
    _P.SET_RULES,
    _P.SEE_PEOPLE,
    _P.KEEP_TEAM,
    _P.KEEP_PEOPLE,
    _P.BREAK_GLASS,
}
_OWNER = (_ADMIN - {_P.STOP_ANY}) | {_P.PROVE_AUDIT, _P.ERASE, _P.KEEP_OWNERS, _P.GRANT_CONTENT}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset(_VIEWER),
    Role.RESEARCHER: frozenset(_RESEARCHER),
    Role.LEAD: frozenset(_LEAD),
    Role.AUDITOR: frozenset(_AUDITOR),
    Role.ADMIN: frozenset(_ADMIN),
    Role.OWNER: frozenset(_OWNER),
}
GRANTED_FOR_A_WHILE = frozenset({_P.SEE_CONTENT, _P.SEE_FACTS})

SCOPES: dict[Permission, Scope] = {
    **dict.fromkeys(Permission, Scope.KEEP),
    **dict.fromkeys((_P.SEE_CONTENT, _P.SEE_FACTS, _P.SEE_RULES), Scope.READ),
    **dict.fromkeys((_P.START, _P.EVALUATE, _P.STOP_ANY, _P.COMMENT), Scope.RUN),
}
"""What a token must be for, besides what its owner's role allows."""


def allows(user: User, permission: Permission, place: Team | Organisation) -> bool:
    """May `user` do this in this team or organisation, now?"""
    if isinstance(place, Team):
        return teams_with(user, permission).filter(pk=place.pk).exists()
    return organisations_with(user, permission).filter(pk=place.pk).exists()


def teams_with(user: User, permission: Permission) -> QuerySet[Team]:
    """Teams in which `user` may do this, by a role there or in their organisation, or by a grant."""
    if not user.is_authenticated or not user.is_active:
        return Team.objects.none()
    roles = [role for role, granted in GRANTS.items() if permission in granted]
    member = Membership.objects.filter(user_id=user.pk or 0, role__in=roles).values("team_id")
    found = Q(pk__in=member) | Q(organisation__in=_organisations(user, roles))
    if permission in GRANTED_FOR_A_WHILE:
        found |= Q(pk__in=_live_grants(user).values("team_id"))
    teams = Team.objects.filter(found & (Q(organisation__require_mfa=False) | Exists(_second_factors(user))))
    token = token_of(user)
    if token is not None:
        teams = teams.filter(pk=token.team_id) if SCOPES[permission] in token.scopes else Team.objects.none()
    return teams


def organisations_with(user: User, permission: Permission) -> QuerySet[Organisation]:
    """Organisations over which `user` may do this as a whole. A role in a team gives nothing here, nor does a token."""
    if not user.is_authenticated or not user.is_active or token_of(user) is not None:
        return Organisation.objects.none()
    roles = [role for role, granted in GRANTS.items() if permission in granted]
    found = Q(pk__in=_organisations(user, roles))
    return Organisation.objects.filter(found & (Q(require_mfa=False) | Exists(_second_factors(user))))


def organisations_of(user: User) -> QuerySet[Organisation]:
    """Those that `user` belongs to in any way, even while a second factor is missing."""
    if not user.is_authenticated or not user.is_active:
        return Organisation.objects.none()
    by_team = Membership.objects.filter(user_id=user.pk or 0).values("team__organisation_id")
    return Organisation.objects.filter(Q(pk__in=by_team) | Q(pk__in=_organisations(user, list(Role))))


def roles_in(user: User, team: Team) -> list[str]:
    """All roles that `user` holds over this team, for the log and for showing."""
    mine = Membership.objects.filter(user_id=user.pk or 0, team=team).values_list("role")
    over = OrganisationMembership.objects.filter(user_id=user.pk or 0, organisation=team.organisation_id)
    granted = _live_grants(user).filter(team=team).values_list(Value("granted", output_field=CharField()))
    return sorted({role for (role,) in mine.union(over.values_list("role"), granted)})


def lacks_second_factor(user: User) -> bool:
    """Whether an organisation of this person asks for a second factor that is not there."""
    return organisations_of(user).filter(require_mfa=True).exists() and not _second_factors(user).exists()


def has_second_factor(user: User) -> bool:
    return _second_factors(user).exists()


def token_of(user: User) -> ApiToken | None:
    """The token with which the person came in, if it was one."""
    return getattr(user, "api_token", None)


def _second_factors(user: User) -> QuerySet[Authenticator]:
    """Recovery codes alone are none."""
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    found: QuerySet[Authenticator] = Authenticator.objects.filter(user_id=user.pk or 0, type__in=kinds)
    return found


def _organisations(user: User, roles: list[Role]) -> QuerySet[OrganisationMembership, Any]:
    return OrganisationMembership.objects.filter(user_id=user.pk or 0, role__in=roles).values("organisation_id")


def _live_grants(user: User) -> QuerySet[ContentGrant]:
    return ContentGrant.objects.filter(user_id=user.pk or 0, expires_at__gt=timezone.now())
