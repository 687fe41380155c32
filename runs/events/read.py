"""Reading the event log: keyset pages of stored text, sent as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection

from runs.events.types import wire_text
from runs.models import SessionMeter

PAGE_EVENTS = 1_000


class Line(NamedTuple):
    """One event as it goes over the wire."""

    seq: int
    text: str


def last_seq(session_pk: int) -> int:
    """The newest committed event of the session; 0 when there is none."""
    return SessionMeter.objects.filter(pk=session_pk).values_list("last_seq", flat=True).first() or 0


def read_lines(session_pk: int, after: int, *, upto: int | None = None, limit: int = PAGE_EVENTS) -> list[Line]:
    """At most `limit` events with `seq` above `after`, none above `upto`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, at_ms, data FROM runs_event WHERE session_id = %s AND seq > %s AND seq <= %s"
            " ORDER BY seq LIMIT %s",
            [session_pk, after, 2**62 if upto is None else upto, limit],
        )
        return [Line(seq, wire_text(seq, at_ms, data)) for seq, at_ms, data in cursor.fetchall()]


def page(session_pk: int, after: int, limit: int = PAGE_EVENTS) -> list[str]:
    """Wire texts of at most `limit` events past `after`, in order."""
    return [line.text for line in read_lines(session_pk, after, limit=limit)]


def all_after(session_pk: int, after: int = 0) -> Iterator[str]:
    """All events past `after`, page by page: memory stays that of one page."""
    while lines := read_lines(session_pk, after):
        yield from (line.text for line in lines)
        after = lines[-1].seq
