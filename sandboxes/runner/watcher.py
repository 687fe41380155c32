"""One descriptor for the supervisor's loop that stands for many: the lines to everything that was forked off."""

from __future__ import annotations

import select

from sandboxes.runner.checks import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandboxes.runner.forkline import ForkLine

    Handler = Callable[[dict[str, Any]], None]
    Ended = Callable[[str], None]

MAX_EVENTS = 64


class Watcher:
    """Reads lines and hands their messages on. `ended` is called once: with what was wrong, or with nothing."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._writing: set[int] = set()
        """Descriptors of lines that more is to be written to."""
        self._watched: dict[int, tuple[ForkLine, Handler, Ended]] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, line: ForkLine, handler: Handler, ended: Ended) -> None:
        self._watched[line.fileno()] = (line, handler, ended)
        self._epoll.register(line.fileno(), select.EPOLLIN)

    def remove(self, line: ForkLine) -> None:
        """Let go of a line and close it."""
        if line.fileno() in self._watched:
            del self._watched[line.fileno()]
            self._writing.discard(line.fileno())
            self._epoll.unregister(line.fileno())
        line.close()

    def lines(self) -> list[ForkLine]:
        return [line for line, _, _ in self._watched.values()]

    def read(self, timeout_s: float = 0) -> None:
        """Handle what has come, waiting at most so long for the first of it."""
        self._write()
        for descriptor, _ in self._epoll.poll(timeout_s, MAX_EVENTS):
            if descriptor in self._watched:
                self._read_line(*self._watched[descriptor])

    def _write(self) -> None:
        """Go on with messages that did not fit, and have the loop woken when more of them does."""
        for descriptor, (line, _, _) in self._watched.items():
            if line.outbox.pending:
                line.outbox.write_some()
            if line.outbox.pending != (descriptor in self._writing):
                self._writing ^= {descriptor}
                events = select.EPOLLIN | (select.EPOLLOUT if descriptor in self._writing else 0)
                self._epoll.modify(descriptor, events)

    def _read_line(self, line: ForkLine, handler: Handler, ended: Ended) -> None:
        why = ""
        try:
            for message in line.read():
                handler(message)
                if line.closed:
                    return
        except (Rejected, ValueError, KeyError, TypeError) as error:
            line.kill()
            line.ended = True
            why = f"it broke its protocol: {error}"
        if line.ended and not line.closed:
            ended(why)
