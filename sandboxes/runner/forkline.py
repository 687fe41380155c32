"""The supervisor's line to a process that was forked off the REPL: a parked copy, a writer or a scratch process.

Who speaks on it is told by the kernel (`SCM_CREDENTIALS`), and must stay the same: a process number is never taken from
a message, since the supervisor sends signals to it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import os

from sandboxes.runner.checks import Rejected
from sandboxes.runner.outbox import Outbox
from sandboxes.runner.wire import LineReader, LineTooLong, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE_READ_BYTES = 1 << 16
"""Below what the C library takes from the system for each call, and gives back."""
_CREDENTIALS_BYTES = 12
_SIGCONT, _SIGKILL = 18, 9


class ForkLine:
    def __init__(self) -> None:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
        ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        ours.setblocking(False)
        self._socket = ours
        self._theirs: _socket.socket | None = theirs
        self._lines = LineReader()
        self.outbox = Outbox(ours)
        self._pidfd = -1
        self.pid = 0
        """0 until it has spoken."""
        self.ended = False
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def other_end(self) -> int:
        """The descriptor to pass to the process; it is closed here by `let_go` once it was passed."""
        assert self._theirs is not None
        return self._theirs.fileno()

    def let_go(self) -> None:
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Never blocks. `descriptors` are copied."""
        if not self.ended:
            self.outbox.send(message, descriptors)

    def read(self) -> list[dict[str, Any]]:
        """The messages that have come. Raises `Rejected` for what is none, or from another process."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(LINE_READ_BYTES, _socket.CMSG_SPACE(_CREDENTIALS_BYTES))
        except BlockingIOError:
            return []
        except OSError:
            data, ancillary = b"", []
        if not data:
            self.ended = True
            return []
        for level, kind, body in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
                self._meet(int.from_bytes(body[:4], "little"))
        self._lines.feed(data)
        messages: list[dict[str, Any]] = []
        try:
            while True:
                line = self._lines.next_line()
                if line is None:
                    return messages
                messages.append(decode(line))
        except (LineTooLong, ValueError) as error:
            raise Rejected(f"not a message: {type(error).__name__}") from None

    def _meet(self, pid: int) -> None:
        if pid == 0 or (self.pid and pid != self.pid):
            raise Rejected("another process speaks")
        if not self.pid:
            self.pid = pid
            if hasattr(os, "pidfd_open"):
                try:
                    self._pidfd = os.pidfd_open(pid)
                except OSError:
                    self._pidfd = -1

    def signal(self, number: int) -> None:
        """Send a signal if it is known and still there: through a descriptor, for its number may be another's by now."""
        try:
            if self._pidfd >= 0:
                _signal.pidfd_send_signal(self._pidfd, number)
            elif self.pid and not hasattr(os, "pidfd_open"):
                os.kill(self.pid, number)  # a kernel without them; there the sandbox has numbers of its own
        except OSError:
            pass  # it has ended

    def wake(self) -> None:
        self.signal(_SIGCONT)

    def kill(self) -> None:
        self.signal(_SIGKILL)

    def close(self) -> None:
        self.let_go()
        self.outbox.clear()
        self._socket.close()
        self.ended = self.closed = True
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
