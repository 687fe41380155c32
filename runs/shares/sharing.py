"""Making, opening and revoking links.

A link of an audience that needs no account carries a token of 256 random bits in the fragment of its address, shown once;
the database holds its HMAC under a key derived from the installation's secret. Wrong, expired and revoked are one answer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.permissions import Permission, allows, teams_with
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act, LinkFacts
from runs.access import Actor, User
from runs.events.read import last_seq
from runs.models import Event, Session, Share
from runs.services.policy_facts import link_facts

TOKEN_BYTES = 32
PUBLIC_ID_BYTES = 12
DEFAULT_DAYS = 7
LONGEST_DAYS = 90
MAX_WORDS = 200
MAX_WORD_CHARS = 200
WITHOUT_ACCOUNT = (Share.Audience.PUBLIC, Share.Audience.PASSWORD)
LEAST_PASSWORD_CHARS = 8
POLICY_LEVELS: dict[str, str] = {
    Share.Redaction.EVERYTHING: "none",
    Share.Redaction.MASKED: "standard",
    Share.Redaction.STRICT: "strict",
}
"""Levels of redaction as policies name them."""


class CannotShare(ValueError):
    """This may not be shared like that; the text says why and what may."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to share and how. `node`: only that node and below. `frozen`: nothing after now."""

    audience: str
    redaction: str = Share.Redaction.STRICT
    days: int = DEFAULT_DAYS
    frozen: bool = True
    node: int | None = None
    upto_seq: int | None = None
    password: str = ""
    max_views: int | None = None
    words: list[str] = field(default_factory=list)


def share_session(actor: Actor, session: Session, wanted: Wanted) -> tuple[Share, str]:
    """The link and its token (empty for audiences with an account). Raises `CannotShare`, and `PolicyRefused`."""
    _check(actor, session, wanted)
    link = LinkFacts(wanted.audience, POLICY_LEVELS[wanted.redaction], wanted.frozen, float(wanted.days))
    # Before the transaction, so that the entry of a refusal outlives it.
    require(Act.SHARE, link_facts(session, actor, link))
    return _share(actor, session, wanted)


@transaction.atomic
def _share(actor: Actor, session: Session, wanted: Wanted) -> tuple[Share, str]:
    token = secrets.token_urlsafe(TOKEN_BYTES) if wanted.audience in WITHOUT_ACCOUNT else ""
    newest = last_seq(session.pk)
    upto = min(wanted.upto_seq or newest, newest) if wanted.frozen else None
    share = Share.objects.create(
        public_id=secrets.token_urlsafe(PUBLIC_ID_BYTES),
        session=session,
        created_by=actor.user,
        audience=wanted.audience,
        redaction=wanted.redaction,
        words=wanted.words,
        node=wanted.node or None,
        upto_seq=upto,
        token_hmac=_hmac(token) if token else "",
        password=make_password(wanted.password) if wanted.audience == Share.Audience.PASSWORD else "",
        expires_at=timezone.now() + timedelta(days=wanted.days),
        max_views=wanted.max_views,
    )
    details = {"audience": share.audience, "redaction": share.redaction, "node": share.node, "upto_seq": upto}
    _audit("share.create", actor, share, {**details, "expires_at": share.expires_at.isoformat()})
    return share, token


@transaction.atomic
def revoke(actor: Actor, shares: QuerySet[Share]) -> int:
    """End links for good; sockets that show one close within two seconds. How many were open."""
    found = list(shares.filter(revoked_at=None).select_related("session__team").select_for_update(of=("self",)))
    for share in found:
        share.revoked_at = timezone.now()
        share.save(update_fields=["revoked_at"])
        _audit("share.revoke", actor, share, {"views": share.views})
    return len(found)


def live_share(public_id: str) -> Share | None:
    """The link, while it counts; nothing about why it does not."""
    return live().filter(public_id=public_id).first()


def live() -> QuerySet[Share]:
    """Neither expired nor revoked. Deleting its session deletes a link."""
    return Share.objects.select_related("session__team").filter(revoked_at=None, expires_at__gt=timezone.now())


def token_fits(share: Share, token: str, password: str) -> bool:
    """Compared in constant time; the password as well where one is asked for."""
    if not share.token_hmac or not constant_time_compare(_hmac(token), share.token_hmac):
        return False
    return share.audience != Share.Audience.PASSWORD or check_password(password, share.password)


def may_open(share: Share, user: User) -> bool:
    """For audiences with an account."""
    if share.audience == Share.Audience.TEAM:
        return allows(user, Permission.SEE_CONTENT, share.session.team)
    organisation = share.session.team.organisation_id
    return (
        share.audience == Share.Audience.ORGANISATION
        and teams_with(user, Permission.SEE_FACTS).filter(organisation=organisation).exists()
    )


@transaction.atomic
def count_view(share: Share, *, by: str) -> bool:
    """Another view, if there may be one more: False at the limit. `by`: who, for the log."""
    room = Q(max_views=None) | Q(views__lt=F("max_views"))
    counted = Share.objects.filter(room, pk=share.pk).update(views=F("views") + 1, last_viewed_at=timezone.now())
    if counted:
        _audit("share.open", None, share, {"audience": share.audience}, by=by)
    return bool(counted)


def shares_of(session: Session) -> list[Share]:
    return list(session.shares.select_related("created_by").order_by("-id"))


def may_revoke(user: User, share: Share) -> bool:
    """Who made it, leads of the team, and whoever sets the rules of the organisation."""
    team = share.session.team
    if share.created_by_id == user.pk and allows(user, Permission.SHARE, team):
        return True
    return allows(user, Permission.DELETE_ANY, team) or allows(user, Permission.SET_RULES, team)


def _check(actor: Actor, session: Session, wanted: Wanted) -> None:
    assert actor.user is not None, "Links are made by people."
    public = wanted.audience in WITHOUT_ACCOUNT
    needed = Permission.SHARE_PUBLIC if public else Permission.SHARE
    if wanted.audience not in Share.Audience.values or wanted.redaction not in Share.Redaction.values:
        raise CannotShare("Choose an audience and what it sees.")
    if not allows(actor.user, needed, session.team):
        raise CannotShare("Leads share with people without an account; share with your team or organisation instead.")
    if public and wanted.redaction == Share.Redaction.EVERYTHING:
        raise CannotShare("People without an account see a masked or strict version.")
    if not 1 <= wanted.days <= LONGEST_DAYS:
        raise CannotShare(f"A link works from 1 to {LONGEST_DAYS} days.")
    if wanted.audience == Share.Audience.PASSWORD and len(wanted.password) < LEAST_PASSWORD_CHARS:
        raise CannotShare(f"The password needs at least {LEAST_PASSWORD_CHARS} characters.")
    if wanted.max_views is not None and wanted.max_views < 1:
        raise CannotShare("At least one view, or no limit.")
    if len(wanted.words) > MAX_WORDS or any(len(word) > MAX_WORD_CHARS for word in wanted.words):
        raise CannotShare(f"At most {MAX_WORDS} texts of {MAX_WORD_CHARS} characters are masked.")
    started = Event.objects.filter(session=session, type="node.started", node=wanted.node)
    if wanted.node is not None and not started.exists():
        raise CannotShare(f"The session has no node {wanted.node}.")


def _hmac(token: str) -> str:
    return salted_hmac("runs.shares.token", token, algorithm="sha256").hexdigest()


def _audit(action: str, actor: Actor | None, share: Share, details: dict[str, Any], *, by: str = "") -> None:
    audit(
        action,
        actor=actor.name if actor is not None else by,
        object_type="share",
        object_id=share.uuid,
        team_uuid=share.session.team.uuid,
        source=actor.source if actor is not None else "share",
        particulars=Particulars(session=str(share.session.uuid), node=share.node),
        details=details,
    )
