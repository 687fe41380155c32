"""Who may see or change what: the only way to fetch a session or a context for a person.

"Not yours" and "not there" are the same answer, 404. Every entrance (page, API, websocket, command) asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AuthUser
from django.db.models import QuerySet
from django.http import Http404

from rlmweb.audit.circumstances import touch
from rlmweb.teams.models import ApiToken, Membership, Role, Team
from runs.models import Context, LmCredential, Session

User = AuthUser | AnonymousUser
Action = Literal["view", "start", "stop", "evaluate", "pin", "delete"]
"""evaluate: run code in scratch sandboxes on what the session has saved. Changes nothing of the session. pin: say what
of it is kept."""

MAY_SEE = frozenset({Role.VIEWER, Role.RESEARCHER, Role.LEAD, Role.ADMIN, Role.OWNER})
"""Roles that see the content of their team's sessions. Auditors read the audit log, not what people asked."""
MAY_START = frozenset({Role.RESEARCHER, Role.LEAD, Role.ADMIN, Role.OWNER})
MAY_STOP_ANY = frozenset({Role.LEAD, Role.ADMIN, Role.OWNER})
MAY_KEEP_KEYS = frozenset({Role.LEAD, Role.ADMIN, Role.OWNER})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, through which entrance: `web`, `api`, `cli`, `worker`. For services and the audit log."""

    user: AuthUser | None
    source: str

    @property
    def name(self) -> str:
        return self.user.get_username() if self.user is not None else "system"


def actor_of(user: User, source: str) -> Actor:
    """Raises `Http404` for someone who is not signed in."""
    if not isinstance(user, AuthUser) or not user.is_active:
        raise Http404
    return Actor(user, source)


def sessions_of(user: User) -> QuerySet[Session]:
    """Sessions that `user` may see."""
    return Session.objects.filter(team__in=_teams(user, MAY_SEE))


def session_for(user: User, uuid: UUID | str, action: Action = "view") -> Session:
    """The session, if `user` may do `action` with it. Raises `Http404`."""
    session = sessions_of(user).select_related("team", "context", "meter").filter(uuid=_uuid(uuid)).first()
    if session is None:
        _note_denied("session", Session.objects.filter(uuid=_uuid(uuid)))
        raise Http404
    if not may(user, session, action):
        touch("session", session.uuid, session.team.uuid, denied=True)
        raise Http404
    touch("session", session.uuid, session.team.uuid)
    return session


def may(user: User, session: Session, action: Action) -> bool:
    """May `user` do `action` with a session that this user may see?"""
    if action == "view":
        return True
    role = _role(user, session.team)
    if action in ("evaluate", "pin"):
        return role in MAY_START
    if role in MAY_STOP_ANY:
        return True
    return role in MAY_START and session.created_by_id == user.pk


def contexts_of(user: User) -> QuerySet[Context]:
    """Those whose content is here: a session can be imported without."""
    return Context.objects.filter(team__in=_teams(user, MAY_SEE)).exclude(sha256="")


def context_for(user: User, uuid: UUID | str) -> Context:
    """Raises `Http404`."""
    context = contexts_of(user).select_related("team").filter(uuid=_uuid(uuid)).first()
    if context is None:
        _note_denied("context", Context.objects.filter(uuid=_uuid(uuid)))
        raise Http404
    touch("context", context.uuid, context.team.uuid)
    return context


def teams_to_start_in(user: User) -> QuerySet[Team]:
    """Teams in which `user` may start sessions."""
    return _teams(user, MAY_START)


def team_for(user: User) -> Team:
    """The team in which `user` starts sessions when none is named: the first by name. Raises `Http404`."""
    team = teams_to_start_in(user).first()
    if team is None:
        raise Http404
    return team


def credentials_of(user: User) -> QuerySet[LmCredential]:
    """Keys that `user` may use in sessions; the keys themselves are never shown."""
    return LmCredential.objects.filter(team__in=_teams(user, MAY_START))


def credential_for(user: User, uuid: UUID | str, action: Literal["use", "delete"] = "use") -> LmCredential:
    """A team's key by its uuid. Raises `Http404`."""
    credential = credentials_of(user).select_related("team").filter(uuid=_uuid(uuid)).first()
    if credential is None:
        _note_denied("credential", LmCredential.objects.filter(uuid=_uuid(uuid)))
        raise Http404
    if action == "delete" and not may_keep_keys(user, credential.team):
        touch("credential", credential.uuid, credential.team.uuid, denied=True)
        raise Http404
    return credential


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The user's own API tokens. Nobody sees those of others, except administrators in the admin pages."""
    return ApiToken.objects.filter(user_id=user.pk or 0)


def teams_to_keep_keys_of(user: User) -> QuerySet[Team]:
    """Teams whose keys `user` may add and delete."""
    return _teams(user, MAY_KEEP_KEYS)


def may_keep_keys(user: User, team: Team) -> bool:
    """May `user` add and delete the team's keys?"""
    return _role(user, team) in MAY_KEEP_KEYS


def require_staff(user: User) -> None:
    """What concerns the whole installation is for its staff. Raises `Http404`."""
    if not (user.is_active and user.is_staff):
        raise Http404


def _note_denied(kind: str, asked_for: QuerySet[Any]) -> None:
    """What is there and not for this person; an address that leads nowhere is no denial."""
    found = asked_for.select_related("team").first()
    if found is not None:
        touch(kind, found.uuid, found.team.uuid, denied=True)


def _teams(user: User, roles: frozenset[Role]) -> QuerySet[Team]:
    if not user.is_authenticated or not user.is_active:
        return Team.objects.none()
    memberships = Membership.objects.filter(user_id=user.pk, role__in=roles)
    return Team.objects.filter(pk__in=memberships.values("team_id"))


def _role(user: User, team: Team) -> str | None:
    membership = Membership.objects.filter(user_id=user.pk or 0, team=team).first()
    return membership.role if membership is not None else None


def _uuid(value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Http404 from None
