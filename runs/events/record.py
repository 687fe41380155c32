"""The only writer of the event log.

Events are prepared outside the transaction (long texts go to the blob store, the rest is encoded and bounded) and
inserted inside it, in one statement a batch, under the lock of the session's meter: commit order is `seq` order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from django.db import connection

from runs.blobs import BlobStore, Stored
from runs.events.types import (
    INLINE_TEXT_BYTES,
    MAX_EVENT_BYTES,
    BlobText,
    CellFinished,
    ErrorInfo,
    Event,
    MessageInfo,
    VariableInfo,
    encode_event,
)
from runs.text import head_tail, scrub

_EXCERPTS_CHARS = ((480, 120), (160, 40), (40, 0), (0, 0))
"""Head and tail of a `BlobText`, from generous to none; the first that fits into the event is taken."""


class EventTooLarge(ValueError):
    """An event is over `MAX_EVENT_BYTES` even with every long text in the blob store."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event ready to insert."""

    type: str
    node: int | None
    at_ms: int
    data: str
    blobs: tuple[Stored, ...]


def prepare(event: Event, store: BlobStore, *, at_ms: int | None = None) -> Prepared:
    """Bound and encode one event; its long texts are in `store` afterwards. Raises `EventTooLarge`."""
    at_ms = int(time.time() * 1000) if at_ms is None else at_ms
    blobs: dict[str, Stored] = {}
    for head_chars, tail_chars in _EXCERPTS_CHARS:
        data = encode_event(_fitted(event, store, blobs, head_chars, tail_chars))
        if len(data) <= MAX_EVENT_BYTES:
            return Prepared(_tag(event), getattr(event, "node", None), at_ms, data.decode(), tuple(blobs.values()))
    if isinstance(event, CellFinished) and event.variables:
        fewer = event.variables[: len(event.variables) // 2]
        omitted = event.variables_omitted + len(event.variables) - len(fewer)
        return prepare(msgspec.structs.replace(event, variables=fewer, variables_omitted=omitted), store, at_ms=at_ms)
    raise EventTooLarge(f"{_tag(event)} is {len(data)} bytes; the most is {MAX_EVENT_BYTES}")


def insert(session_id: int, first_seq: int, events: Sequence[Prepared]) -> None:
    """Insert `events` as `first_seq`, `first_seq + 1`... The caller holds the meter's lock and counts the `seq`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_event (session_id, seq, at_ms, type, node, data)"
            " SELECT %s, %s + row.n - 1, row.at_ms, row.type, row.node, row.data"
            " FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::text[])"
            " WITH ORDINALITY AS row(at_ms, type, node, data, n)",
            [
                session_id,
                first_seq,
                [event.at_ms for event in events],
                [event.type for event in events],
                [event.node for event in events],
                [event.data for event in events],
            ],
        )
        blobs = {blob.sha256: blob for event in events for blob in event.blobs}
        if blobs:
            note_blobs(session_id, list(blobs.values()))


def note_blobs(session_id: int, blobs: Sequence[Stored]) -> None:
    """Record that `session` uses these contents of the store."""
    names = [blob.sha256 for blob in blobs]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH blobs AS (INSERT INTO runs_blob (sha256, size_bytes, stored_bytes, created_at)"
            " SELECT *, now() FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING)"
            " INSERT INTO runs_blobuse (session_id, sha256) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
            [
                names,
                [blob.size_bytes for blob in blobs],
                [blob.stored_bytes for blob in blobs],
                *(session_id, names),
            ],
        )


def _fitted(event: Event, store: BlobStore, blobs: dict[str, Stored], head_chars: int, tail_chars: int) -> Event:
    """The event with safe texts, the long ones replaced by excerpts."""

    def text(value: str) -> str | BlobText:
        value = scrub(value)
        if len(value) <= INLINE_TEXT_BYTES // 4 or len(raw := value.encode()) <= INLINE_TEXT_BYTES:
            return value
        stored = store.put(raw)
        blobs[stored.sha256] = stored
        return BlobText(stored.sha256, stored.size_bytes, *head_tail(value, head_chars, tail_chars))

    def converted(value: Any, may_be_blob: bool) -> Any:
        if isinstance(value, str):
            return text(value) if may_be_blob else scrub(value)
        if isinstance(value, MessageInfo):
            return msgspec.structs.replace(value, content=converted(value.content, True))
        if isinstance(value, ErrorInfo):
            return msgspec.structs.replace(
                value, message=scrub(value.message)[:1000], detail=converted(value.detail, True)
            )
        if isinstance(value, VariableInfo):
            return VariableInfo(*(scrub(getattr(value, name))[:200] for name in value.__struct_fields__))
        if isinstance(value, list):
            return [converted(item, may_be_blob) for item in value]
        return value

    texts = _text_fields(type(event))
    changes = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if value is None or isinstance(value, int | float | bool):
            continue
        new = converted(value, name in texts)
        if new is not value:
            changes[name] = new
    return msgspec.structs.replace(event, **changes) if changes else event


@cache
def _text_fields(event_type: type[Event]) -> frozenset[str]:
    """Names of the fields that may hold a `BlobText`."""
    hints = get_type_hints(event_type)
    return frozenset(name for name, hint in hints.items() if BlobText in get_args(hint))


@cache
def _tag_of(event_type: type[Event]) -> str:
    tag = event_type.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def _tag(event: Event) -> str:
    return _tag_of(type(event))
