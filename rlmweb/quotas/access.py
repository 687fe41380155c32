"""Who sees and who sets which quotas: the one decision, for the page and for whatever comes.

Members see what concerns them: their own account and keys, their teams, and the organisations of these. The installation's
numbers are for its staff. Who may set the rules of an organisation sets those within it; staff set every quota.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AuthUser
from django.db.models import QuerySet
from django.http import Http404

from rlmweb.quotas.scopes import WHOLE, Scope, ScopeKind, user_uuid
from rlmweb.teams.models import ApiToken, Membership, Organisation, OrganisationMembership, Team
from rlmweb.teams.permissions import Permission, organisations_with, teams_with, token_of

User = AuthUser | AnonymousUser


@dataclass(frozen=True, slots=True)
class Place:
    """A scope with the name that people know it by."""

    scope: Scope
    name: str
    may_set: bool

    @property
    def key(self) -> str:
        """Names the scope in forms and addresses."""
        return f"{self.scope.kind}:{self.scope.uuid}"


def places_for(user: User) -> list[Place]:
    """Scopes that `user` sees, the widest first. Nothing for who is not signed in, or came with a token."""
    if not user.is_authenticated or not user.is_active or token_of(user) is not None:
        return []
    staff = user.is_staff
    kept = set(organisations_with(user, Permission.SET_RULES).values_list("pk", flat=True))
    found = [Place(WHOLE, "Installation", True)] if staff else []
    for organisation in _organisations(user, staff):
        scope = Scope(ScopeKind.ORGANISATION, organisation.uuid)
        found.append(Place(scope, organisation.name, staff or organisation.pk in kept))
    for team in _teams(user, staff):
        may_set = staff or team.organisation_id in kept
        found.append(Place(Scope(ScopeKind.TEAM, team.uuid), team.name, may_set))
    theirs = set() if staff or not kept else _only_in(kept)
    for person in _people(user, staff, theirs):
        may_set = staff or (person.pk != user.pk and person.pk in theirs)
        found.append(Place(Scope(ScopeKind.USER, user_uuid(person.pk)), person.get_username(), may_set))
    for token in _tokens(user, staff, kept):
        may_set = staff or token.team.organisation_id in kept
        found.append(Place(Scope(ScopeKind.KEY, token.uuid), str(token), may_set))
    return found


def place_for(user: User, kind: str, uuid: UUID, *, to_set: bool = False) -> Place:
    """Raises `Http404` for what this person does not see, or may not set."""
    for place in places_for(user):
        if place.scope == Scope(kind, uuid) and (place.may_set or not to_set):
            return place
    raise Http404


def require_setter(user: User) -> None:
    """Raises `Http404` for who may set no quota at all."""
    if not any(place.may_set for place in places_for(user)):
        raise Http404


def _organisations(user: User, staff: bool) -> QuerySet[Organisation]:
    if staff:
        return Organisation.objects.all()
    of_teams = teams_with(user, Permission.SEE_RULES).values("organisation_id")
    return Organisation.objects.filter(pk__in=of_teams) | Organisation.objects.filter(
        pk__in=organisations_with(user, Permission.SEE_RULES).values("pk")
    )


def _teams(user: User, staff: bool) -> QuerySet[Team]:
    return Team.objects.all() if staff else teams_with(user, Permission.SEE_RULES)


def _people(user: User, staff: bool, theirs: set[int]) -> QuerySet[AuthUser]:
    people = get_user_model().objects.filter(is_active=True).order_by("username")
    if staff:
        return people
    return people.filter(pk=user.pk or 0) | people.filter(pk__in=theirs)


def _only_in(organisations: set[int]) -> set[int]:
    """People who belong to these organisations and to no other: what limits a person there limits nothing elsewhere."""
    inside: set[int] = set()
    outside: set[int] = set()
    in_teams = Membership.objects.values_list("user_id", "team__organisation_id")
    for person, organisation in in_teams.union(
        OrganisationMembership.objects.values_list("user_id", "organisation_id")
    ):
        (inside if organisation in organisations else outside).add(person)
    return inside - outside


def _tokens(user: User, staff: bool, kept: set[int]) -> QuerySet[ApiToken]:
    tokens = ApiToken.objects.select_related("team", "user").order_by("user__username", "name")
    if staff:
        return tokens
    return tokens.filter(user_id=user.pk or 0) | tokens.filter(team__organisation__in=kept)
