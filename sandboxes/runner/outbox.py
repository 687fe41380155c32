"""Messages on their way into a socket that must not block, with the descriptors that travel along."""

from __future__ import annotations

import _socket
import os

from sandboxes.runner.wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Outbox:
    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket
        self._waiting: list[tuple[bytes, list[int]]] = []

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send now or later. `descriptors` are copied, and counted in the message as `fds`: the receiver takes so many
        of those that came."""
        copies = [os.dup(descriptor) for descriptor in descriptors or []]
        if copies:
            message = {**message, "fds": len(copies)}
        self._waiting.append((encode(message), copies))
        self.write_some()

    @property
    def pending(self) -> bool:
        return bool(self._waiting)

    def write_some(self) -> None:
        """Write what the socket takes. When the other end is gone nothing is left to write."""
        try:
            while self._waiting:
                data, descriptors = self._waiting[0]
                count = self._write(data, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                self._waiting[0] = (data[count:], [])
                if count == len(data):
                    del self._waiting[0]
        except BlockingIOError:
            return
        except OSError:
            self.clear()

    def _write(self, data: bytes, descriptors: list[int]) -> int:
        if not descriptors:
            return self._socket.send(data)
        rights = b"".join(number.to_bytes(4, "little") for number in descriptors)
        return self._socket.sendmsg([data[:1]], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def clear(self) -> None:
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()
