"""What goes over the websocket in both directions.

| from | message | meaning |
| --- | --- | --- |
| client | `{"type":"resume","after":N}` | once, first: I have everything up to N |
| client | `{"type":"ack","seq":N}` | I have taken everything up to N |
| server | `{"type":"events","events":[...],"last":N}` | the next events, N the last of them; at most about `FRAME_BYTES` |
| server | `{"type":"caught_up","last":N}` | once: from here on events are live |
| server | `{"type":"heartbeat","last":N}` | nothing was sent for a while; N is the newest event there is |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

from runs.events.read import Line

FRAME_BYTES = 256 * 1024
"""Frames are cut here: a browser handles them one at a time, and a client's unsent frames are what it costs us."""
MAX_MESSAGE_CHARS = 1024

Seq = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class BadMessage(ValueError):
    """A client sent something that the protocol does not have; the message says what."""


class Resume(msgspec.Struct, frozen=True, tag="resume", forbid_unknown_fields=True):
    """Send everything after this `seq`, then what comes."""

    after: Seq


class Ack(msgspec.Struct, frozen=True, tag="ack", forbid_unknown_fields=True):
    """Everything up to this `seq` was taken."""

    seq: Seq


_decoder = msgspec.json.Decoder(Resume | Ack)


class Frame(NamedTuple):
    """A message with the events `first` to `last`."""

    first: int
    last: int
    text: str
    size_bytes: int


def parse_message(text: str | None) -> Resume | Ack:
    """Raises `BadMessage`."""
    if text is None:
        raise BadMessage("send text, not bytes")
    if len(text) > MAX_MESSAGE_CHARS:
        raise BadMessage(f"a message has at most {MAX_MESSAGE_CHARS} characters")
    try:
        message: Resume | Ack = _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise BadMessage(str(error)) from error
    return message


def frames_of(lines: Iterable[Line]) -> list[Frame]:
    """Encode events, as many in a frame as fit into `FRAME_BYTES`, at least one."""
    frames: list[Frame] = []
    waiting: list[Line] = []
    size_bytes = 0
    for line in lines:
        line_bytes = len(line.text.encode())
        if waiting and size_bytes + line_bytes > FRAME_BYTES:
            frames.append(_frame(waiting, size_bytes))
            waiting, size_bytes = [], 0
        waiting.append(line)
        size_bytes += line_bytes + 1
    if waiting:
        frames.append(_frame(waiting, size_bytes))
    return frames


def _frame(lines: list[Line], size_bytes: int) -> Frame:
    last = lines[-1].seq
    events = ",".join(line.text for line in lines)
    return Frame(lines[0].seq, last, f'{{"type":"events","events":[{events}],"last":{last}}}', size_bytes)


def caught_up(last: int) -> str:
    return f'{{"type":"caught_up","last":{last}}}'


def heartbeat(last: int) -> str:
    return f'{{"type":"heartbeat","last":{last}}}'
