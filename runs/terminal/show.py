"""Three ways to show a running session: a picture that is redrawn, a log, or the events themselves."""

from __future__ import annotations

import shutil
from typing import Protocol, TextIO

from runs.events.fold import fold_line
from runs.events.tree import Tree
from runs.terminal.follow import Stopwatch
from runs.terminal.log import lines_of
from runs.terminal.picture import picture, summary
from runs.terminal.plain import head, safe_lines

REDRAW_EVERY_S = 0.2
FINAL_ROWS = 200
CLEAR_BELOW = "\x1b[J"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class View(Protocol):
    def take(self, lines: list[str]) -> None:
        """Some new events; none when a moment has passed without."""

    def close(self) -> None:
        """The session is over, or nobody wants to see more."""


class EventsView:
    """The events as JSON lines, exactly as they are stored."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def take(self, lines: list[str]) -> None:
        for line in lines:
            self._out.write(f"{line}\n")
        self._out.flush()

    def close(self) -> None:
        self._out.flush()


class LogView:
    """Lines in the order of the events, and the answer at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.tree = Tree()

    def take(self, lines: list[str]) -> None:
        for line in lines:
            event = fold_line(self.tree, line)
            elapsed_s = (self.tree.at - (self.tree.started_at or self.tree.at)) / 1000
            for text in lines_of(event, elapsed_s):
                self._out.write(f"{text}\n")
        self._out.flush()

    def close(self) -> None:
        _write_answer(self._out, self.tree)
        self._out.write(f"{summary(self.tree)}\n")
        self._out.flush()


class PictureView:
    """The tree, redrawn in place a few times a second; it stays on the screen at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._stopwatch = Stopwatch(REDRAW_EVERY_S)
        self._drawn = 0
        self.tree = Tree()
        out.write(HIDE_CURSOR)

    def take(self, lines: list[str]) -> None:
        for line in lines:
            fold_line(self.tree, line)
        if self._stopwatch.due():
            size = shutil.get_terminal_size()
            self._draw(size.columns - 1, size.lines - 1)

    def close(self) -> None:
        self._draw(shutil.get_terminal_size().columns - 1, FINAL_ROWS)
        self._out.write(SHOW_CURSOR)
        _write_answer(self._out, self.tree)
        self._out.flush()

    def _draw(self, columns: int, rows: int) -> None:
        lines = picture(self.tree, columns=columns, rows=rows, colour=True)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._out.write(f"{up}\r{CLEAR_BELOW}" + "".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)


def view_for(out: TextIO, *, as_json: bool) -> View:
    if as_json:
        return EventsView(out)
    return PictureView(out) if out.isatty() else LogView(out)


def _write_answer(out: TextIO, tree: Tree) -> None:
    if tree.answer is None:
        return
    out.write("\nPartial answer:\n" if tree.partial else "\nAnswer:\n")
    for line in safe_lines(head(tree.answer)):
        out.write(f"{line}\n")
