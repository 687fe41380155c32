"""What the runner has told the host and the host has not yet acknowledged."""

from __future__ import annotations

import os

from sandboxes.runner.wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_UNACKED_BYTES = 8 * 1024 * 1024
WRITE_BYTES = 64 * 1024


class FrameLog:
    """Numbered frames in order, kept until acknowledged, and a cursor to the next one to send."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._first_seq = 1
        self._size = 0
        self._cursor = 1
        self._urgent: list[bytes] = []
        self._writing = b""

    @property
    def last_seq(self) -> int:
        return self._first_seq + len(self._lines) - 1

    @property
    def first_seq(self) -> int:
        return self._first_seq

    @property
    def full(self) -> bool:
        """True: take no more from the REPL until the host acknowledges."""
        return self._size > MAX_UNACKED_BYTES

    @property
    def pending(self) -> bool:
        return bool(self._writing or self._urgent or self._cursor <= self.last_seq)

    @property
    def urgent_bytes(self) -> int:
        return sum(map(len, self._urgent))

    def add(self, frame: dict[str, Any]) -> None:
        frame["seq"] = self.last_seq + 1
        line = encode(frame)
        self._lines.append(line)
        self._size += len(line)

    def add_unnumbered(self, frame: dict[str, Any]) -> None:
        """Send `frame` before anything else; it is not kept."""
        self._urgent.append(encode(frame))

    def sent(self) -> None:
        """The newest frame reached the host by another way."""
        self._cursor = self.last_seq + 1

    def ack(self, seq: int) -> None:
        count = min(seq, self.last_seq) - self._first_seq + 1
        if count <= 0:
            return
        self._size -= sum(map(len, self._lines[:count]))
        del self._lines[:count]
        self._first_seq += count
        self._cursor = max(self._cursor, self._first_seq)

    def rewind(self, after: int) -> None:
        """Send everything past `after` again, as far as it is kept."""
        self._cursor = max(self._first_seq, min(after, self.last_seq) + 1)

    def write_some(self, descriptor: int) -> None:
        """Write until nothing is pending or the descriptor takes no more. Raises `OSError` when the host is gone."""
        while self.pending:
            if not self._writing:
                self._writing = self._next_chunk()
            try:
                count = os.write(descriptor, self._writing)
            except BlockingIOError:
                return
            self._writing = self._writing[count:]

    def _next_chunk(self) -> bytes:
        if self._urgent:
            chunk = b"".join(self._urgent)
            self._urgent.clear()
            return chunk
        start = end = self._cursor - self._first_seq
        size = 0
        while end < len(self._lines) and (end == start or size + len(self._lines[end]) <= WRITE_BYTES):
            size += len(self._lines[end])
            end += 1
        self._cursor += end - start
        return b"".join(self._lines[start:end])
