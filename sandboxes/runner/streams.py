"""Standard streams of a cell, and those of threads that outlived an earlier one."""

from __future__ import annotations

import _thread
import fcntl
import io
import os
import sys

from sandboxes.runner.process import HIGH_DESCRIPTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Streams:
    """`sys.stdout` and `sys.stderr` of the cell, and those of threads that outlived an earlier cell."""

    def __init__(self) -> None:
        self._saved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR) for number in (0, 1, 2)]
        self.null = self._saved[0]
        self._late: dict[int, tuple[Any, Any]] = {}
        self.current: tuple[Any, Any] = (None, None)

    def renew(self, fresh: list[int]) -> None:
        """Take new pipes, if there are any. Threads that are still alive keep the old ones: what they print is told
        apart."""
        if fresh:
            self._keep_for_threads()
        for number, descriptor in enumerate(fresh, start=1):
            os.dup2(descriptor, self._saved[number], False)
            os.close(descriptor)

    def redirect(self, descriptor: int) -> None:
        """From now on both streams of what runs here go to `descriptor`."""
        for number in (1, 2):
            os.dup2(descriptor, self._saved[number], False)
        self._late.clear()

    def begin(self) -> None:
        """Standard descriptors and streams for a cell, whatever the last one did to them."""
        for number, saved in enumerate(self._saved):
            os.dup2(saved, number)
        self.current = (_writer(1), _writer(2))
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
        if self._late:
            sys.stdout, sys.stderr = _ByThread(self, 0), _ByThread(self, 1)
        else:
            sys.stdout, sys.stderr = self.current
        sys.__stdout__, sys.__stderr__ = self.current  # type: ignore[misc]

    def _keep_for_threads(self) -> None:
        alive = set(sys._current_frames()) - {_thread.get_ident()}
        self._late = {ident: streams for ident, streams in self._late.items() if ident in alive}
        newcomers = alive - set(self._late)
        if newcomers:
            old = (_writer(os.dup(self._saved[1]), True), _writer(os.dup(self._saved[2]), True))
            self._late.update(dict.fromkeys(newcomers, old))

    def of_thread(self, index: int) -> Any:
        return self._late.get(_thread.get_ident(), self.current)[index]

    def flush(self) -> None:
        for stream in self.current:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass  # the cell closed the stream or its descriptor


class Reserve:
    """Descriptors held while code runs and given back when it is done: code that used all others up cannot keep the
    REPL from receiving new pipes."""

    COUNT = 8

    def __init__(self, model: int) -> None:
        self._model = model
        self._held: list[int] = []

    def hold(self) -> None:
        try:
            while len(self._held) < self.COUNT:
                self._held.append(fcntl.fcntl(self._model, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR))
        except OSError:
            pass  # all are in use: there is nothing to protect

    def release(self) -> None:
        while self._held:
            try:
                os.close(self._held.pop())
            except OSError:
                pass  # the code closed it


class _ByThread(io.TextIOBase):
    """A stream that writes where the calling thread belongs."""

    def __init__(self, streams: Streams, index: int) -> None:
        self._streams = streams
        self._index = index

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return int(self._streams.of_thread(self._index).write(text))

    def flush(self) -> None:
        self._streams.of_thread(self._index).flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._index + 1

    @property
    def buffer(self) -> Any:
        return self._streams.of_thread(self._index).buffer


def _writer(descriptor: int, close: bool = False) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(descriptor, "wb", closefd=close))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
