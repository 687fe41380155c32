"""What a limit would have done to the sessions of the last week, told before it is set. Read from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from rlmweb.quotas.booking import starts_on
from rlmweb.quotas.models import Quota
from rlmweb.quotas.resources import resource_named
from rlmweb.quotas.scopes import Scope

DAYS = 7

# The columns of the ledger that name a scope; the installation is in every entry.
_COLUMNS = {"organisation": "organisation_uuid", "team": "team_uuid", "user": "user_uuid", "key": "key_uuid"}
_WOULD = """
  WITH running AS (
    SELECT session_uuid, at, {added} AS added,
           sum({counted}) OVER (PARTITION BY {period} ORDER BY id) AS total
    FROM quotas_ledgerentry WHERE resource = %(resource)s AND day >= %(first)s AND {scope})
  SELECT count(DISTINCT session_uuid) FROM running WHERE added > 0 AND total > %(limit)s AND at >= %(since)s
"""
_ALL = (
    "SELECT count(DISTINCT session_uuid) FROM quotas_ledgerentry WHERE at >= %(since)s AND day >= %(week)s AND {scope}"
)


@dataclass(frozen=True, slots=True)
class Effect:
    """`hit` None: the ledger cannot tell (a cap of each session leaves no entries)."""

    hit: int | None
    sessions: int
    on_exceed: str

    def __str__(self) -> str:
        if self.hit is None:
            return "What it would have done last week is not known: it is asked for each session by itself."
        fate = "paused or not started" if self.on_exceed == Quota.OnExceed.PAUSE else "ended or not started"
        return f"{self.hit} of {self.sessions} sessions of last week would have been {fate}."


def effect_of(scope: Scope, resource: str, limit: int, period: str, on_exceed: str, *, now: datetime) -> Effect:
    """A session is hit when it used or held something while the sum was past the limit."""
    since = now - timedelta(days=DAYS)
    column = _COLUMNS.get(scope.kind)
    kind = resource_named(resource).kind
    facts: dict[str, Any] = {
        "resource": resource,
        "limit": limit,
        "since": since,
        "week": since.date() - timedelta(days=1),
        "first": _first(period, since.date()),
        "uuid": scope.uuid,
    }
    in_scope = "true" if column is None else f"{column} = %(uuid)s"
    sessions = _count(_ALL.format(scope=in_scope), facts)
    if kind == "cap":
        return Effect(None, sessions, on_exceed)
    held = "used + reserved" if kind == "level" else "used"
    windows = {"day": "day", "month": "date_trunc('month', day)", "none": "1"}
    statement = _WOULD.format(added=held, counted=held, period=windows[period], scope=in_scope)
    return Effect(_count(statement, facts), sessions, on_exceed)


def _first(period: str, day: date) -> date:
    """From where the sums have to be formed."""
    return starts_on(period, day)


def _count(statement: str, facts: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, facts)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])
