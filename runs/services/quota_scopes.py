"""In which scopes a session counts: noted when it starts, so that a change of teams or keys moves no past use."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from django.contrib.auth.models import User

from rlmweb.quotas.models import Payer
from rlmweb.quotas.scopes import Scope, scopes_of
from rlmweb.quotas.services import record_use, scopes_in, stored_scopes
from rlmweb.teams.models import Team
from rlmweb.teams.permissions import token_of
from runs.models import Session


def scopes_of_actor(team: Team, user: User | None) -> tuple[Scope, ...]:
    """Everything in which what this person starts in this team counts; with the token it came in with, if any."""
    return scopes_of(team, user, token_of(user) if user is not None else None)


def count_start(session: Session, user: User | None) -> None:
    """Inside the transaction that starts the session: note who pays, and count it. Raises `QuotaExceeded`."""
    scopes = scopes_of_actor(session.team, user)
    Payer.objects.create(session_uuid=session.uuid, scopes=stored_scopes(scopes))
    record_use(scopes, {"sessions": 1}, session=session.uuid, reservation=session.uuid)


def scopes_of_session(session: Session) -> tuple[Scope, ...]:
    """As noted; a session from before the note counts for its team and who started it."""
    return _noted(session.uuid)


@lru_cache(maxsize=4096)
def _noted(uuid: UUID) -> tuple[Scope, ...]:
    """Kept for the life of the worker: it never changes."""
    payer = Payer.objects.filter(session_uuid=uuid).first()
    if payer is not None:
        return scopes_in(payer.scopes)
    session = Session.objects.select_related("team__organisation", "created_by").get(uuid=uuid)
    return scopes_of(session.team, session.created_by)
