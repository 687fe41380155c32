from __future__ import annotations

import json
import threading

import pytest
from django.db import connection

from runs.blobs import blob_store
from runs.events import record
from runs.events.types import (
    MAX_EVENT_BYTES,
    BlobText,
    CellFinished,
    CellOutput,
    Log,
    MessageInfo,
    StepStarted,
    VariableInfo,
    decode_event,
    wire_text,
)
from runs.models import BlobUse, Event
from runs.services.transaction import session_transaction
from tests.factories import make_session


def _output(text: str) -> CellOutput:
    return CellOutput(node=0, step=1, cell=1, stream="stdout", text=text)


def test_a_short_text_stands_in_the_event() -> None:
    prepared = record.prepare(_output("hello"), blob_store())
    assert json.loads(prepared.data)["text"] == "hello"
    assert prepared.blobs == ()


def test_a_long_text_becomes_a_blob_with_its_true_size() -> None:
    text = "ü" * 5000 + "end"
    prepared = record.prepare(_output(text), blob_store())
    event = decode_event(prepared.data)
    assert isinstance(event, CellOutput)
    assert isinstance(event.text, BlobText)
    assert event.text.size == len(text.encode())
    assert text.startswith(event.text.head)
    assert text.endswith(event.text.tail)
    assert blob_store().text(event.text.sha256) == text


@pytest.mark.parametrize("hostile", ["\x00", "\ud800", "\x1b]0;title\x07", "\u202e", "</script>"])
def test_hostile_characters_are_stored_as_valid_text(hostile: str) -> None:
    prepared = record.prepare(_output(f"a{hostile}b" * 300), blob_store())
    assert "\x00" not in prepared.data
    prepared.data.encode()
    assert len(prepared.data.encode()) <= MAX_EVENT_BYTES


def test_no_event_is_over_the_limit_whatever_it_holds() -> None:
    control = "\x1b" * 4000
    variables = [VariableInfo(name=f"v{n}", type="str", preview=control) for n in range(200)]
    finished = CellFinished(node=0, step=1, cell=1, status="ok", variables=variables)
    prepared = record.prepare(finished, blob_store())
    event = decode_event(prepared.data)
    assert len(prepared.data.encode()) <= MAX_EVENT_BYTES
    assert isinstance(event, CellFinished)
    assert event.variables_omitted + len(event.variables) == 200


def test_many_new_messages_fit_into_one_event() -> None:
    messages = [MessageInfo("user", "x" * 5000) for _ in range(12)]
    prepared = record.prepare(StepStarted(node=0, step=1, messages=messages), blob_store())
    assert len(prepared.data.encode()) <= MAX_EVENT_BYTES


def test_wire_text_is_the_stored_text_with_seq_and_time() -> None:
    prepared = record.prepare(_output("hello"), blob_store())
    assert json.loads(wire_text(7, 1234, prepared.data)) == {
        "seq": 7,
        "at": 1234,
        "type": "cell.output",
        "node": 0,
        "step": 1,
        "cell": 1,
        "stream": "stdout",
        "text": "hello",
    }


@pytest.mark.django_db
def test_events_of_a_transaction_are_numbered_without_a_gap_and_their_blobs_belong_to_the_session() -> None:
    session = make_session()
    for n in range(3):
        with session_transaction(session) as changes:
            changes.emit(Log(level="info", message=f"{n}"), _output("long " * 1000))
    events = list(Event.objects.filter(session=session).order_by("seq"))
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert BlobUse.objects.filter(session=session).count() == 1
    session.meter.refresh_from_db()
    assert session.meter.last_seq == 6


@pytest.mark.django_db
def test_a_failed_transaction_leaves_no_event_and_no_hole() -> None:
    session = make_session()

    def fail() -> None:
        with session_transaction(session) as changes:
            changes.emit(Log(level="info", message="lost"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with session_transaction(session) as changes:
        changes.emit(Log(level="info", message="kept"))
    assert list(Event.objects.filter(session=session).values_list("seq", flat=True)) == [1]


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_leave_no_gap_and_commit_in_order() -> None:
    session = make_session()
    seen: list[list[int]] = []

    def write(n: int) -> None:
        for k in range(10):
            with session_transaction(session) as changes:
                changes.emit(Log(level="info", message=f"{n}.{k}"), Log(level="info", message=f"{n}.{k}!"))
            # Whatever is visible now must be a prefix: no later seq may be seen before an earlier one.
            seen.append(list(Event.objects.filter(session=session).order_by("seq").values_list("seq", flat=True)))
        connection.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[-1:]
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in seen)
    assert Event.objects.filter(session=session).count() == 120
