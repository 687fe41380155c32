"""The tree and the log in a terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.events.fold import fold_line
from runs.events.tree import Tree
from runs.terminal.picture import picture
from runs.terminal.plain import first_line, fit, safe, safe_lines
from runs.terminal.show import EventsView, LogView, PictureView, view_for

TRAJECTORIES = sorted((Path(__file__).parents[2] / "fixtures" / "trajectories").glob("*.jsonl"))
OURS = ("\x1b[?25l", "\x1b[?25h", "\x1b[J", "\x1b[0m", *(f"\x1b[{n}m" for n in range(31, 38)))


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def folded(path: Path) -> Tree:
    tree = Tree()
    for line in lines_of(path):
        fold_line(tree, line)
    return tree


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert safe(text).isprintable()
    assert all(line.isprintable() for line in safe_lines(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\x9b31m", "\\x9b31m"),
        ("größer 漢字", "größer 漢字"),
        ("line\r\nline", "line\\x0d\\x0aline"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_commands_to_the_terminal_are_spelled_out(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text(), st.integers(0, 40))
def test_a_text_fits_its_columns(text: str, columns: int) -> None:
    assert len(fit(safe(text), columns)) <= columns


def test_wide_characters_take_two_columns() -> None:
    assert fit("漢字漢字", 8) == "漢字漢字"
    assert fit("漢字漢字", 5) == "漢字…"
    assert fit("漢字漢字", 4) == "漢…"


def test_the_first_line_is_one_that_says_something() -> None:
    assert first_line("\n   \n  print(1)\nprint(2)") == "print(1)"
    assert first_line(None) == ""


@pytest.mark.parametrize("path", TRAJECTORIES, ids=lambda path: path.stem)
def test_every_trajectory_can_be_shown_at_every_event(path: Path) -> None:
    tree = Tree()
    for line in lines_of(path):
        fold_line(tree, line)
        rows = picture(tree, columns=80, rows=24, colour=False)
        assert 1 <= len(rows) <= 24
        assert all(row.isprintable() and len(row) <= 80 for row in rows)


@pytest.mark.parametrize("path", TRAJECTORIES, ids=lambda path: path.stem)
def test_every_trajectory_can_be_logged_and_drawn_without_obeying_it(path: Path) -> None:
    log, terminal = io.StringIO(), Terminal()
    for view in (LogView(log), PictureView(terminal)):
        view.take(lines_of(path))
        view.close()
    assert all(line.isprintable() for line in log.getvalue().split("\n"))
    drawn = re.sub("|".join(map(re.escape, OURS)) + r"|\x1b\[\d+A\r", "", terminal.getvalue())
    assert all(line.isprintable() for line in drawn.replace("\r", "").split("\n"))


def test_a_picture_shows_status_activity_and_use() -> None:
    path = next(path for path in TRAJECTORIES if path.stem == "tour")
    rows = picture(folded(path), columns=120, rows=50, colour=False)
    assert rows[0].startswith("finished [scripted]")
    assert "LM calls" in rows[0]
    assert rows[1].startswith("✓ 0 ")
    assert any(row.startswith("  ✓ ") for row in rows[2:])


def test_of_a_large_tree_the_busy_part_is_shown() -> None:
    tree = Tree()
    fold_line(
        tree, '{"seq":1,"at":1,"type":"node.started","node":0,"parent":null,"depth":0,"prompt":"root","model":"m"}'
    )
    for n in range(1, 500):
        prefix = f'{{"seq":{n + 1},"at":1,"node":{n}'
        fold_line(tree, f'{prefix},"type":"node.started","parent":0,"depth":1,"prompt":"child","model":"m"}}')
        if n != 250:
            fold_line(tree, f'{prefix},"type":"node.finished","status":"finished","answer":"done"}}')
    rows = picture(tree, columns=80, rows=12, colour=False)
    assert len(rows) == 12
    assert any("250 child" in row for row in rows)
    assert "more nodes" in rows[-1]


def test_the_events_themselves_are_passed_on_unchanged() -> None:
    out = io.StringIO()
    lines = lines_of(TRAJECTORIES[0])
    EventsView(out).take(lines)
    assert out.getvalue().splitlines() == lines


def test_a_pipe_gets_lines_and_a_terminal_gets_the_picture() -> None:
    assert isinstance(view_for(io.StringIO(), as_json=False), LogView)
    assert isinstance(view_for(Terminal(), as_json=False), PictureView)
    assert isinstance(view_for(Terminal(), as_json=True), EventsView)
