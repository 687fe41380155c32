"""Bookings that a transaction collects and writes at its end, so that balances are locked for as short as can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from uuid import UUID

from rlmweb.quotas.booking import Amount, Entry, book
from rlmweb.quotas.models import LedgerEntry
from rlmweb.quotas.scopes import Scope
from rlmweb.quotas.warnings import warn


class Batch:
    """What becomes of earlier reservations, by the day on which they were made."""

    def __init__(self) -> None:
        self._days: dict[date, dict[str, Amount]] = {}

    def __bool__(self) -> bool:
        return bool(self._days)

    def add(self, day: date, amounts: Mapping[str, Amount]) -> None:
        held = self._days.setdefault(day, {})
        for name, amount in amounts.items():
            held[name] = held.get(name, Amount()) + amount

    def write(self, scopes: Iterable[Scope], session: UUID) -> None:
        """The truth is written even beyond a limit: it was spent."""
        wanted = tuple(scopes)
        for day, amounts in sorted(self._days.items()):
            kind = LedgerEntry.Kind.SETTLE if any(each.used for each in amounts.values()) else LedgerEntry.Kind.RELEASE
            for crossed in book(wanted, amounts, Entry(kind, session, day, session), strict=False):
                warn(crossed)
        self._days.clear()
