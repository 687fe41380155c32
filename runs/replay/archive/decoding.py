"""Rows of an archive, decoded: of the right shape, and nothing in them that the database or a page cannot hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from runs.events.types import MAX_EVENT_BYTES, AnyEvent, decode_event, encode_event
from runs.replay.archive import format as form
from runs.replay.archive.errors import ArchiveInvalid, ArchiveTooLarge
from runs.replay.archive.reading import Archive
from runs.replay.archive.rows import EventRow, Row
from runs.text import scrub

RowT = TypeVar("RowT", bound=Row)

MOST_EVENT_BYTES = 2 * MAX_EVENT_BYTES
"""An event that was copied into a fork may be a little longer than one may be that is new."""
_events = msgspec.json.Decoder(EventRow)


def document(archive: Archive, name: str, kind: type[RowT]) -> RowT:
    """Raises `ArchiveInvalid` or `ArchiveTooLarge`."""
    return _decoded(msgspec.json.Decoder(kind), archive.document(name), name, archive.limits.depth)


def rows(archive: Archive, name: str, kind: type[RowT]) -> Iterator[RowT]:
    """The rows of a table, one after the other. Raises like `document`."""
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(archive.lines(name), start=1):
        yield _decoded(decoder, line, f"{name}, line {number}", archive.limits.depth)


def events(archive: Archive) -> Iterator[tuple[EventRow, AnyEvent]]:
    """The event log: each event's place in it, and what it says."""
    for number, line in enumerate(archive.lines(form.EVENTS), start=1):
        place = f"{form.EVENTS}, line {number}"
        row = _decoded(_events, line, place, archive.limits.depth)
        try:
            event = decode_event(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArchiveInvalid(f"{place}: {error}.") from error
        if len(encode_event(event)) > MOST_EVENT_BYTES:
            raise ArchiveTooLarge(f"{place}: an event has at most {MAX_EVENT_BYTES:,} bytes.")
        yield row, event


StructT = TypeVar("StructT")


def _decoded(decoder: msgspec.json.Decoder[StructT], data: bytes, place: str, depth: int) -> StructT:
    _require_shallow(data, place, depth)
    try:
        value = decoder.decode(data)
    except RecursionError:
        raise ArchiveTooLarge(f"{place}: nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveInvalid(f"{place}: {error}.") from error
    require_storable(value, place)
    return value


def _require_shallow(data: bytes, place: str, depth: int) -> None:
    """Before decoding, so that depth costs nothing. Brackets in texts count too, so this only clears the usual row."""
    if data.count(b"{") + data.count(b"[") <= depth:
        return
    level = 0
    try:
        plain = msgspec.json.decode(data)
    except RecursionError:
        raise ArchiveTooLarge(f"{place}: nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # the typed decoder says what is wrong
    layer = [plain]
    while layer:
        level += 1
        if level > depth + 1:
            raise ArchiveTooLarge(f"{place}: nested more than {depth} levels deep.")
        layer = [inner for value in layer for inner in _inside(value)]


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def require_storable(value: object, place: str) -> None:
    """No NUL, which the database cannot hold in texts, and no number that is none there. Raises `ArchiveInvalid`."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if scrub(each) != each:
                raise ArchiveInvalid(f"{place}: a text holds NUL.")
        elif isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, msgspec.Struct):
            waiting += [getattr(each, name) for name in each.__struct_fields__]
        elif (isinstance(each, int) and abs(each) >= 2**63) or (isinstance(each, float) and not math.isfinite(each)):
            raise ArchiveInvalid(f"{place}: a number is out of range.")
