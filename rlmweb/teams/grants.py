"""Looks at content without a role in the team, for a while and for a reason that the log holds.

Two ways: an owner grants an auditor a look at one team's content for a case; an admin or owner takes emergency access
(break-glass). Both end by themselves.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import ContentGrant, Team
from rlmweb.teams.people import NotPossible
from rlmweb.teams.permissions import Permission, allows

EMERGENCY_MINUTES = 60
LONGEST_CASE_DAYS = 30
LEAST_REASON_CHARS = 10


@transaction.atomic
def break_glass(user: Any, team: Team, reason: str) -> ContentGrant:
    """Emergency access for an hour. Raises `NotPossible`."""
    if not allows(user, Permission.BREAK_GLASS, team.organisation):
        raise NotPossible("Emergency access is for admins and owners.")
    return _grant("content.break_glass", user, user, team, reason, timedelta(minutes=EMERGENCY_MINUTES))


@transaction.atomic
def grant_content(by: Any, user: Any, team: Team, reason: str, days: int) -> ContentGrant:
    """For a case: `user`, who must belong to the organisation, sees the team's content. Raises `NotPossible`."""
    if not allows(by, Permission.GRANT_CONTENT, team.organisation):
        raise NotPossible("Looks at content are granted by owners.")
    if by == user:
        raise NotPossible("Nobody grants themselves a look; emergency access is for that.")
    if not allows(user, Permission.SEE_FACTS, team.organisation):
        raise NotPossible(f"{user} is no auditor, admin or owner of {team.organisation}.")
    if not 1 <= days <= LONGEST_CASE_DAYS:
        raise NotPossible(f"A look lasts from 1 to {LONGEST_CASE_DAYS} days.")
    return _grant("content.grant", by, user, team, reason, timedelta(days=days))


@transaction.atomic
def end_grant(by: Any, row: ContentGrant) -> None:
    """Raises `NotPossible`."""
    if row.user != by and not allows(by, Permission.GRANT_CONTENT, row.team.organisation):
        raise NotPossible("Who holds the look, or an owner, ends it.")
    _audit("content.end_grant", by, row)
    row.delete()


def _grant(action: str, by: Any, user: Any, team: Team, reason: str, length: timedelta) -> ContentGrant:
    if len(reason.strip()) < LEAST_REASON_CHARS:
        raise NotPossible(f"Say why, in at least {LEAST_REASON_CHARS} characters: the log keeps it.")
    row = ContentGrant.objects.create(
        team=team, user=user, granted_by=by, reason=reason.strip()[:500], expires_at=timezone.now() + length
    )
    _audit(action, by, row)
    return row


def _audit(action: str, by: Any, row: ContentGrant) -> None:
    audit(
        action,
        actor=by.get_username(),
        object_type="team",
        object_id=row.team.uuid,
        team_uuid=row.team.uuid,
        particulars=Particulars(reason=row.reason),
        details={"user": row.user_id, "expires_at": row.expires_at.isoformat()},
    )
