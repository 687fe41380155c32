"""The one way to change balances and ledger: a single statement that books everything asked for, or nothing.

What it does is in the database (migrations/0002_booking.sql): one round trip, and rows are locked for as short as can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.resources import resource_named
from rlmweb.quotas.scopes import Scope, by_kind


@dataclass(frozen=True, slots=True)
class Amount:
    """By how much what is reserved and what is used change, in the resource's own unit."""

    reserved: int = 0
    used: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.reserved + other.reserved, self.used + other.used)


@dataclass(frozen=True, slots=True)
class Crossed:
    """Use of a scope came to `percent` of its limit."""

    scope: Scope
    resource: str
    period: str
    limit: int
    used: int
    percent: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says beside the amounts."""

    kind: str
    reservation: UUID
    day: date
    session: UUID | None = None
    price_version: str = ""


def book(scopes: Iterable[Scope], amounts: Mapping[str, Amount], entry: Entry, *, strict: bool) -> tuple[Crossed, ...]:
    """Book in all `scopes` or in none. Raises `QuotaExceeded` where `strict` and a limit refuses.

    The rows stay locked until the caller's transaction ends: book last in it.
    """
    wanted = {name: amount for name, amount in sorted(amounts.items()) if amount.reserved or amount.used}
    if not wanted:
        return ()
    uuids = by_kind(scopes)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT quotas_book(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[], %s::bigint[], %s, %s, %s)",
            [
                entry.kind,
                entry.reservation,
                entry.session,
                *(uuids.get(kind) for kind in ("organisation", "team", "user", "key")),
                list(wanted),
                [resource_named(name).kind != "flow" for name in wanted],
                [amount.reserved for amount in wanted.values()],
                [amount.used for amount in wanted.values()],
                entry.day,
                entry.price_version,
                strict,
            ],
        )
        row = cursor.fetchone()
    assert row is not None
    said: dict[str, Any] = row[0] if isinstance(row[0], dict) else orjson.loads(row[0])
    if said["refused"] is not None:
        raise _refusal(said["refused"], entry.day)
    return tuple(_crossed(fact) for fact in said["crossed"])


def ends_at(period: str, day: date) -> datetime | None:
    """When the period in which `day` lies is over, UTC."""
    if period == "none":
        return None
    last = day if period == "day" else _last_of_month(day)
    return datetime.combine(last + timedelta(days=1), datetime.min.time(), tzinfo=UTC)


def starts_on(period: str, day: date) -> date:
    """`Balance.period_start` of the period in which `day` lies."""
    return {"day": day, "month": day.replace(day=1), "none": date(1970, 1, 1)}[period]


def _last_of_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _refusal(fact: dict[str, Any], day: date) -> QuotaExceeded:
    return QuotaExceeded(
        Scope(fact["kind"], UUID(fact["uuid"])),
        fact["resource"],
        limit=fact["limit"],
        used=fact["used"],
        requested=fact["requested"],
        period=fact["period"],
        resets_at=ends_at(fact["period"], day),
        on_exceed=fact["on_exceed"],
    )


def _crossed(fact: dict[str, Any]) -> Crossed:
    scope = Scope(fact["kind"], UUID(fact["uuid"]))
    return Crossed(scope, fact["resource"], fact["period"], fact["limit"], fact["used"], fact["percent"])
