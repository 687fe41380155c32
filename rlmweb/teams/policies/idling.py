"""Web sessions that end: after idle minutes, and after hours in any case, by the strictest organisation of the person.

Two times are kept in the web session, both Unix seconds and ours: nothing of it comes from the client. A request of which
the client says that nobody asked for it is no act; a client that lies about that stays signed in until its hours are over.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from rlmweb.audit.models import AuditEntry
from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import OrganisationPolicy
from rlmweb.teams.permissions import User, organisations_of
from rlmweb.teams.policies.current import read_policy
from rlmweb.teams.policies.profiles import HIPAA

SIGNED_IN_AT = "rlmweb_signed_in_at"
ACTIVE_AT = "rlmweb_active_at"
WRITTEN_EVERY_S = 10.0
"""How exact the time of the last act is: the web session is not written with every request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no end."""

    idle_s: float | None = None
    longest_s: float | None = None

    @property
    def any(self) -> bool:
        return self.idle_s is not None or self.longest_s is not None


def limits_of(user: User) -> Limits:
    """The strictest of all organisations that the person belongs to in any way."""
    rows = OrganisationPolicy.objects.filter(organisation__in=organisations_of(user))
    newest = rows.order_by("organisation_id", "-version").distinct("organisation_id")
    # What cannot be read allows nothing elsewhere; here it is as strict as anything is.
    rules = [read_policy(row).rules or HIPAA for row in newest]
    minutes = [each.idle_minutes for each in rules if each.idle_minutes is not None]
    hours = [each.session_hours for each in rules if each.session_hours is not None]
    return Limits(min(minutes) * 60.0 if minutes else None, min(hours) * 3600.0 if hours else None)


def ended(kept: MutableMapping[str, Any] | Any, limits: Limits, now: float | None = None) -> str:
    """Why the web session is over; empty: it is not."""
    now = now if now is not None else time.time()
    if limits.longest_s is not None and now - _time(kept, SIGNED_IN_AT, now) > limits.longest_s:
        return f"Your organisation ends web sessions after {limits.longest_s / 3600:g} hours. Sign in again."
    if limits.idle_s is not None and now - _time(kept, ACTIVE_AT, now) > limits.idle_s:
        return f"Nothing was done for {limits.idle_s / 60:g} minutes, so your web session ended. Sign in again."
    return ""


def note_act(kept: MutableMapping[str, Any] | Any, *, is_act: bool, now: float | None = None) -> None:
    """The clocks begin with the first request after signing in; each act sets the one for idling back."""
    now = now if now is not None else time.time()
    if SIGNED_IN_AT not in kept:
        kept[SIGNED_IN_AT] = now
    if ACTIVE_AT not in kept or (is_act and now - _time(kept, ACTIVE_AT, 0.0) > WRITTEN_EVERY_S):
        kept[ACTIVE_AT] = now


def note_time_out(user: Any, why: str, source: str) -> None:
    """The entry of an end that nobody chose."""
    audit(
        "user.time_out",
        actor=user.get_username(),
        object_type="user",
        object_id=str(user.pk),
        source=source,
        outcome=AuditEntry.Outcome.DENIED,
        particulars=Particulars(reason=why),
    )


def _time(kept: Any, name: str, missing: float) -> float:
    value = kept.get(name)
    return float(value) if isinstance(value, int | float) else missing
