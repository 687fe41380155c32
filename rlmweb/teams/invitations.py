"""Ways in for new people: a code that is shown once, used once, and stored as a hash.

The code travels in the fragment of an address (`/join/#code`), which no server log and no Referer header holds; the page
hands it over by POST. Who is not signed in yet carries it in the own web session while signing in or making an account.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.core.mail import send_mail
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import ORGANISATION_ROLES, Invitation, Organisation, Role, Team
from rlmweb.teams.people import NotPossible, give_role, may_give

CODE_BYTES = 24
VALID_DAYS = 7
CARRIED = "invitation"
"""Key in the web session of who came with a code: the uuid of the invitation, which alone opens nothing."""


@transaction.atomic
def invite(by: Any, organisation: Organisation, team: Team | None, email: str, role: str) -> tuple[Invitation, str]:
    """The row and its code, which nobody can read again. Raises `NotPossible`."""
    if (team is None) == (role not in ORGANISATION_ROLES):
        raise NotPossible("A viewer, researcher or lead is invited to a team, other roles to the organisation.")
    if not may_give(by, role, organisation, team):
        raise NotPossible(f"Your role does not give the role {Role(role).label}.")
    code = secrets.token_urlsafe(CODE_BYTES)
    row = Invitation.objects.create(
        organisation=organisation,
        team=team,
        email=email,
        role=role,
        invited_by=by,
        code_sha256=_hash(code),
        expires_at=timezone.now() + timedelta(days=VALID_DAYS),
    )
    _audit("invitation.create", row, by)
    return row, code


def send(row: Invitation, address: str) -> None:
    """The address goes to the person only, without a word about what is in the installation."""
    text = (
        f"{row.invited_by} invites you to {row.organisation} on rlmweb as {row.get_role_display()}.\n\n{address}\n\n"
        f"The address works once, until {row.expires_at:%Y-%m-%d}."
    )
    send_mail(f"Invitation to {row.organisation.name}"[:200], text, None, [row.email])


@transaction.atomic
def withdraw(row: Invitation, by: Any) -> None:
    _audit("invitation.withdraw", row, by)
    row.delete()


def carry(request: HttpRequest, code: str) -> Invitation | None:
    """Keep in the web session that this person holds the code. None: it is wrong, used or over, which is one answer."""
    row = _open().filter(code_sha256=_hash(code)).first()
    if row is not None:
        request.session[CARRIED] = str(row.uuid)
    return row


def carried(request: HttpRequest) -> Invitation | None:
    """What the person came with, if it still counts."""
    uuid = request.session.get(CARRIED)
    return _open().filter(uuid=uuid).first() if uuid else None


@transaction.atomic
def accept(request: HttpRequest, user: Any) -> Invitation | None:
    """Give `user` the carried role; once, whoever comes first."""
    held = carried(request)
    row = _open().select_for_update(of=("self",)).filter(pk=held.pk).first() if held is not None else None
    request.session.pop(CARRIED, None)
    if row is None:
        return None
    row.accepted_at = timezone.now()
    row.save(update_fields=["accepted_at"])
    give_role(user, row.role, row.organisation, row.team, by=row.invited_by, invitation=row.uuid)
    return row


def _open() -> QuerySet[Invitation]:
    waiting = Invitation.objects.select_related("organisation", "team", "invited_by")
    return waiting.filter(accepted_at=None, expires_at__gt=timezone.now())


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def _audit(action: str, row: Invitation, by: Any) -> None:
    audit(
        action,
        actor=by.get_username(),
        object_type="invitation",
        object_id=row.uuid,
        team_uuid=row.team.uuid if row.team else row.organisation.uuid,
        particulars=Particulars(object_label=row.role),
    )
