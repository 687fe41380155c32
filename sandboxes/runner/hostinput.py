"""The host's stream of frames, as the supervisor reads it."""

from __future__ import annotations

import os

from sandboxes.runner.wire import LineReader, LineTooLong

READ_BYTES_OF_HOST = 1 << 16


class HostInput:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._lines = LineReader()

    def read(self) -> list[bytes | None]:
        """The lines that have come; None for one that passed the limit and was skipped."""
        try:
            data = os.read(self.descriptor, READ_BYTES_OF_HOST)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return []
        self._lines.feed(data)
        lines: list[bytes | None] = []
        while True:
            try:
                line = self._lines.next_line()
            except LineTooLong:
                lines.append(None)
                continue
            if line is None:
                return lines
            if line.strip():
                lines.append(line)
