"""Output of the REPL and of what it started: decode, batch, cap, and tell late from timely."""

from __future__ import annotations

import codecs
import fcntl
import os

from sandboxes.runner.wire import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BATCH_S = 0.02
BATCH_BYTES = 32 * 1024
READ_BYTES = 64 * 1024
KEPT_PIPES = 16
"""Pipes of earlier cells that are still read, for threads and processes that outlived them."""
F_GETPIPE_SZ = 1032


class CellOutput:
    """The output budget of one cell."""

    def __init__(self, cell: str, max_bytes: int) -> None:
        self.cell = cell
        self.max_bytes = max_bytes
        self.output_bytes = 0
        self.dropped_bytes = 0
        self.finished = False

    def admit(self, data: bytes) -> bytes:
        """The part of `data` that is still within the cap; the rest is counted and dropped."""
        room = max(self.max_bytes - (self.output_bytes - self.dropped_bytes), 0)
        self.output_bytes += len(data)
        if len(data) <= room:
            return data
        self.dropped_bytes += len(data) - room
        return data[:room]


class OutputPipe:
    """The reading end of one of the REPL's output pipes."""

    def __init__(self, descriptor: int, stream: str, budget: CellOutput) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.stream = stream
        self.budget = budget
        self.closed = False
        self.flush_at = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text: list[str] = []
        self._size = 0

    def read(self, now: float) -> int:
        """Take what is there, at most `READ_BYTES`; returns the number of bytes taken."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self.closed = True
            return 0
        text = self._decoder.decode(self.budget.admit(data))
        if text:
            if not self._text:
                self.flush_at = now + BATCH_S
            self._text.append(text)
            self._size += len(text)
        return len(data)

    def due(self, now: float) -> bool:
        return bool(self._text) and (now >= self.flush_at or self._size >= BATCH_BYTES)

    @property
    def waiting(self) -> bool:
        return bool(self._text)

    def flush(self, emit: Callable[[dict[str, Any]], None], *, final: bool = False) -> None:
        """Emit the batch. `final`: nothing follows for this cell, so half a character becomes a replacement."""
        if final:
            self._text.append(self._decoder.decode(b"", True))
            self._decoder.reset()
        text = clean("".join(self._text))
        self._text.clear()
        self._size = 0
        for start in range(0, len(text), READ_BYTES):
            frame: dict[str, Any] = {
                "type": "output",
                "cell": self.budget.cell,
                "stream": self.stream,
                "text": text[start : start + READ_BYTES],
            }
            if self.budget.finished:
                frame["late"] = True
            emit(frame)

    def drain(self, now: float, emit: Callable[[dict[str, Any]], None]) -> None:
        """Take all that was written before this call: at most what the pipe holds, so that a flood cannot hold us."""
        left = fcntl.fcntl(self.descriptor, F_GETPIPE_SZ)
        while left > 0:
            count = self.read(now)
            if count == 0:
                break
            left -= count
            if self.due(now):
                self.flush(emit)
        self.flush(emit, final=True)

    def close(self) -> None:
        os.close(self.descriptor)
