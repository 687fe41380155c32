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
from rlmweb.teams.models import ApiToken, Team
from rlmweb.teams.permissions import Permission, allows, teams_with
from runs.models import Context, LmCredential, Session

User = AuthUser | AnonymousUser
Action = Literal["view", "start", "stop", "evaluate", "pin", "delete"]
"""evaluate: run code in scratch sandboxes on what the session has saved. Changes nothing of the session. pin: say what
of it is kept."""

_NEEDED = {"view": Permission.SEE_CONTENT, "start": Permission.START}
_NEEDED |= {"evaluate": Permission.EVALUATE, "pin": Permission.EVALUATE}
_OF_OTHERS = {"stop": Permission.STOP_ANY, "delete": Permission.DELETE_ANY}
"""What it takes to do this with sessions that somebody else started."""


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
    return Session.objects.filter(team__in=teams_with(user, Permission.SEE_CONTENT))


def facts_of(user: User) -> QuerySet[Session]:
    """Sessions of which `user` may know status, counts and cost; what people and models wrote is not among it."""
    return Session.objects.filter(team__in=teams_with(user, Permission.SEE_FACTS))


def session_for(user: User, uuid: UUID | str, action: Action = "view") -> Session:
    """The session, if `user` may do `action` with it. Raises `Http404`."""
    # Admins stop what they do not see.
    known = facts_of(user) if action == "stop" else sessions_of(user)
    session = known.select_related("team", "context", "meter").filter(uuid=_uuid(uuid)).first()
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
    if action in _NEEDED:
        return allows(user, _NEEDED[action], session.team)
    if allows(user, _OF_OTHERS[action], session.team):
        return True
    return session.created_by_id == user.pk and allows(user, Permission.START, session.team)


def may_go_on(user_id: int | None, team: Team) -> bool:
    """Whether who began something may still begin it there: workers ask before each step and job, with that person's
    rights as they are now. What nobody in particular began (a command) is the installation's own."""
    if user_id is None:
        return True
    user = AuthUser.objects.filter(pk=user_id).first()
    return user is not None and allows(user, Permission.START, team)


def contexts_of(user: User) -> QuerySet[Context]:
    """Those whose content is here: a session can be imported without."""
    return Context.objects.filter(team__in=teams_with(user, Permission.SEE_CONTENT)).exclude(sha256="")


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
    return teams_with(user, Permission.START)


def team_for(user: User) -> Team:
    """The team in which `user` starts sessions when none is named: the first by name. Raises `Http404`."""
    team = teams_to_start_in(user).first()
    if team is None:
        raise Http404
    return team


def credentials_of(user: User) -> QuerySet[LmCredential]:
    """Keys that `user` may use in sessions; the keys themselves are never shown."""
    return LmCredential.objects.filter(team__in=teams_with(user, Permission.START))


def credential_for(user: User, uuid: UUID | str, action: Literal["use", "delete"] = "use") -> LmCredential:
    """A team's key by its uuid. Raises `Http404`."""
    needed = Permission.KEEP_KEYS if action == "delete" else Permission.START
    asked_for = LmCredential.objects.filter(uuid=_uuid(uuid))
    credential = asked_for.select_related("team").filter(team__in=teams_with(user, needed)).first()
    if credential is None:
        _note_denied("credential", asked_for)
        raise Http404
    return credential


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The user's own API tokens. Nobody sees those of others, except administrators in the admin pages."""
    return ApiToken.objects.filter(user_id=user.pk or 0)


def keys_shown_to(user: User) -> QuerySet[LmCredential]:
    """Keys that `user` may use or keep. Raises `Http404` for who may do neither anywhere."""
    teams = teams_to_start_in(user) | teams_to_keep_keys_of(user)
    if not teams.exists():
        raise Http404
    return LmCredential.objects.filter(team__in=teams)


def teams_of(user: User) -> QuerySet[Team]:
    """Teams whose content `user` may see."""
    return teams_with(user, Permission.SEE_CONTENT)


def teams_to_keep_keys_of(user: User) -> QuerySet[Team]:
    """Teams whose keys `user` may add and delete."""
    return teams_with(user, Permission.KEEP_KEYS)


def may_keep_keys(user: User, team: Team) -> bool:
    """May `user` add and delete the team's keys?"""
    return allows(user, Permission.KEEP_KEYS, team)


def require_staff(user: User) -> None:
    """What concerns the whole installation is for its staff. Raises `Http404`."""
    if not (user.is_active and user.is_staff):
        raise Http404


def _note_denied(kind: str, asked_for: QuerySet[Any]) -> None:
    """What is there and not for this person; an address that leads nowhere is no denial."""
    found = asked_for.select_related("team").first()
    if found is not None:
        touch(kind, found.uuid, found.team.uuid, denied=True)


def _uuid(value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Http404 from None
