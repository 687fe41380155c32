"""Whose use is counted: the installation, and within it an organisation, a team, a person and an API key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from django.contrib.auth.models import AbstractBaseUser
from django.db import models

from rlmweb.teams.models import ApiToken, Team

INSTALLATION = UUID(int=0)
_USERS = UUID("6c1b6d9a-6c57-4c0e-9a1e-0f2d9c1d5b11")
"""Namespace of the uuids that stand for people."""


class ScopeKind(models.TextChoices):
    """In the order in which balances are changed: everybody takes the same rows in the same order, so nobody waits in a
    circle."""

    INSTALLATION = "installation", "Installation"
    ORGANISATION = "organisation", "Organisation"
    TEAM = "team", "Team"
    USER = "user", "Person"
    KEY = "key", "API key"


@dataclass(frozen=True, slots=True)
class Scope:
    kind: str
    uuid: UUID

    def __str__(self) -> str:
        return str(ScopeKind(self.kind).label).lower()


WHOLE = Scope(ScopeKind.INSTALLATION, INSTALLATION)


def user_uuid(user_pk: int) -> UUID:
    """People have no uuid of their own; this one is theirs for good."""
    return uuid5(_USERS, str(user_pk))


def scopes_of(team: Team | None, user: AbstractBaseUser | None, key: ApiToken | None = None) -> tuple[Scope, ...]:
    """Everything in which what this person does in this team counts, the widest first."""
    found = [WHOLE]
    if team is not None:
        found += [Scope(ScopeKind.ORGANISATION, team.organisation.uuid), Scope(ScopeKind.TEAM, team.uuid)]
    if user is not None:
        found.append(Scope(ScopeKind.USER, user_uuid(user.pk)))
    if key is not None:
        found.append(Scope(ScopeKind.KEY, key.uuid))
    return tuple(found)


def by_kind(scopes: Iterable[Scope]) -> dict[str, UUID]:
    """Raises `ValueError` for two scopes of one kind: what is used counts in one team, for one person."""
    found: dict[str, UUID] = {}
    for scope in scopes:
        if found.setdefault(scope.kind, scope.uuid) != scope.uuid:
            raise ValueError(f"Two scopes of the kind {scope.kind} cannot count the same use.")
    return found
