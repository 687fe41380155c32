"""What the model sees of its cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.engine.observation import append, cell_report, observation, shown
from runs.engine.state import CellRecord, Stream


@given(st.lists(st.text(max_size=50), max_size=20), st.integers(4, 200))
def test_a_stream_keeps_its_head_and_tail_however_it_arrives(parts: list[str], limit: int) -> None:
    piecewise, whole = Stream(), Stream()
    for part in parts:
        append(piecewise, part, limit)
    text = "".join(parts)
    append(whole, text, limit)
    assert piecewise == whole
    assert len(whole.head) + len(whole.tail) <= limit
    if len(text) <= limit * 3 // 4:
        assert shown(whole) == text
    assert text.startswith(whole.head)
    assert text.endswith(whole.tail)


def test_long_output_is_cut_in_the_middle_with_its_true_size() -> None:
    stream = Stream()
    append(stream, "a" * 500 + "b" * 9_000 + "c" * 500, 400)
    assert shown(stream).startswith("a" * 300 + "\n[... 9600 of 10000 characters left out ...]\n")
    assert shown(stream).endswith("c" * 100)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("ok", "(no output)"),
        ("error", "NameError: x"),
        ("timeout", "past its time limit"),
        ("interrupted", "was interrupted"),
        ("killed", "process died"),
    ],
)
def test_how_a_cell_ended_is_said(status: str, words: str) -> None:
    assert words in cell_report(CellRecord(code="x", status=status, error_type="NameError", error_message="x"))


def test_output_before_an_error_and_both_streams_are_shown() -> None:
    cell = CellRecord(code="x", status="error", traceback="Traceback: boom")
    append(cell.stdout, "printed\n", 100)
    append(cell.stderr, "warned\n", 100)
    assert cell_report(cell) == "printed\nwarned\nTraceback: boom"


def test_one_message_reports_all_cells_and_the_names_that_exist() -> None:
    cells = [
        CellRecord(code="a", status="ok", variables=["a"]),
        CellRecord(code="b", status="ok", variables=["a", "b"]),
    ]
    message = observation(cells)
    assert message.role == "user"
    assert "REPL output (block 1):" in message.content
    assert "REPL output (block 2):" in message.content
    assert message.content.endswith("REPL variables: a, b")
    assert observation(cells[:1]).content.startswith("REPL output:\n")
