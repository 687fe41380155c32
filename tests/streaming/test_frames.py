"""Frames: bounded, complete, and refused in words when a client's make no sense."""

from __future__ import annotations

import json

import pytest

from runs.events.read import Line
from runs.stream.frames import FRAME_BYTES, Ack, BadMessage, Resume, frames_of, parse_message


def lines(number: int, text: str) -> list[Line]:
    return [Line(seq, json.dumps({"seq": seq, "text": text}, ensure_ascii=False)) for seq in range(1, number + 1)]


@pytest.mark.parametrize("text", ["", "x" * 900, "\u20ac" * 900, "\U0001f600" * 900])
def test_frames_hold_every_event_once_and_stay_small(text: str) -> None:
    frames = frames_of(lines(3000, text))
    heard = [event["seq"] for frame in frames for event in json.loads(frame.text)["events"]]
    assert heard == list(range(1, 3001))
    assert all(len(frame.text.encode()) <= FRAME_BYTES + 200 for frame in frames)
    assert [(frame.first, frame.last) for frame in frames] == [
        (events[0]["seq"], events[-1]["seq"]) for events in (json.loads(frame.text)["events"] for frame in frames)
    ]


def test_an_event_that_is_larger_than_a_frame_goes_alone() -> None:
    frames = frames_of([Line(1, "{}"), Line(2, json.dumps("x" * FRAME_BYTES)), Line(3, "{}")])
    assert [(frame.first, frame.last) for frame in frames] == [(1, 1), (2, 2), (3, 3)]


def test_no_events_make_no_frame() -> None:
    assert frames_of([]) == []


def test_the_two_messages_of_a_client_are_understood() -> None:
    assert parse_message('{"type":"resume","after":0}') == Resume(after=0)
    assert parse_message('{"type":"ack","seq":12}') == Ack(seq=12)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "{",
        '{"type":"resume","after":1.5}',
        '{"type":"resume","after":"1"}',
        '{"type":"resume","after":99999999999999999999}',
        '{"type":"ack","seq":1,"more":2}',
        '{"type":"ack","seq":1' + " " * 2000 + "}",
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str | None) -> None:
    with pytest.raises(BadMessage, match=r"."):
        parse_message(text)
