"""Reading the event log: keyset pages of stored text, sent as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from runs.events.types import wire_text
from runs.models import Event

PAGE_EVENTS = 1_000


def page(session_pk: int, after: int, limit: int = PAGE_EVENTS) -> list[str]:
    """Wire texts of at most `limit` events past `after`, in order."""
    rows = Event.objects.filter(session_id=session_pk, seq__gt=after).order_by("seq")
    return [wire_text(*row) for row in rows.values_list("seq", "at_ms", "data")[:limit]]


def all_after(session_pk: int, after: int = 0) -> Iterator[str]:
    """All events past `after`, page by page: memory stays that of one page."""
    last = after
    while True:
        rows = Event.objects.filter(session_id=session_pk, seq__gt=last).order_by("seq")
        found = list(rows.values_list("seq", "at_ms", "data")[:PAGE_EVENTS])
        yield from (wire_text(*row) for row in found)
        if len(found) < PAGE_EVENTS:
            return
        last = found[-1][0]
