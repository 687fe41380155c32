"""The supervisor's handle on the REPL process: fork it, talk to it, feed it pipes, freeze and kill what it left."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import time

from sandboxes.runner.outbox import Outbox
from sandboxes.runner.output import KEPT_PIPES, CellOutput, OutputPipe
from sandboxes.runner.strays import SIGINT, SIGKILL, send_signal
from sandboxes.runner.wire import LineReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HIGH_DESCRIPTOR = 200
"""The REPL keeps its own descriptors from here on, away from code that closes the low ones."""
MAX_DESCRIPTORS = 4096
FORK_PATIENCE_S = 10.0
FORK_AGAIN_S = 0.01


class ReplProcess:
    """One REPL process and the descriptors that lead to it. The other end is hostile: nothing it says is trusted."""

    def __init__(self, main: Callable[[int], None], sweep: str, budget: CellOutput) -> None:
        """`main(control)` runs in the child and never returns. For `sweep` see `Strays`."""
        self.sweep = sweep
        self.condemned = False
        """It broke its protocol and was killed; whatever else it sent before it died is not listened to."""
        self.exit_status: int | None = None
        self.lines = LineReader()
        self.pipes: list[OutputPipe] = []
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
        outputs = self._new_pipes(budget)
        self.pid = _fork_when_allowed(sweep)
        if self.pid == 0:
            _become_child(theirs.fileno(), outputs, main)
        theirs.close()
        for descriptor in outputs:
            os.close(descriptor)
        ours.setblocking(False)
        self._socket = ours
        self._outbox = Outbox(ours)
        self.control = ours.fileno()
        self.pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1

    # Messages ---------------------------------------------------------------------------------------------------

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        self._outbox.send(message, descriptors)

    @property
    def wants_write(self) -> bool:
        return self._outbox.pending

    def write_some(self) -> None:
        self._outbox.write_some()

    def read(self) -> None:
        """Take what the child sent; lines come out of `lines`."""
        try:
            self.lines.feed(self._socket.recv(65536))
        except OSError:
            return

    # Output -----------------------------------------------------------------------------------------------------

    def _new_pipes(self, budget: CellOutput) -> list[int]:
        writers = []
        for stream in ("stdout", "stderr"):
            reader, writer = os.pipe()
            self.pipes.append(OutputPipe(reader, stream, budget))
            writers.append(writer)
        while len(self.pipes) > KEPT_PIPES:
            self.pipes.pop(0).close()
        return writers

    def send_cell(self, message: dict[str, Any], budget: CellOutput, *, fresh: bool) -> None:
        """Start a cell whose output is booked to `budget`; with `fresh` on new pipes: older code still holds the old."""
        if not fresh:
            for pipe in self.pipes[-2:]:
                pipe.budget = budget
            self.send(message)
            return
        writers = self._new_pipes(budget)
        self.send(message, writers)
        for descriptor in writers:
            os.close(descriptor)

    # Signals ----------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        send_signal(self.pid, SIGINT)

    def kill(self) -> None:
        send_signal(self.pid, SIGKILL)

    def reap(self) -> bool:
        """Collect ended processes; True once the REPL is among them."""
        try:
            while self.exit_status is None or self.sweep == "all":
                pid, status = os.waitpid(-1 if self.sweep == "all" else self.pid, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.pid:
                    self.exit_status = status
        except ChildProcessError:
            pass
        return self.exit_status is not None

    def exit_text(self) -> str:
        status = self.exit_status or 0
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return "killed by signal 9 (often: out of memory)" if number == SIGKILL else f"killed by signal {number}"
        return f"exited with status {os.WEXITSTATUS(status)}"

    def close(self) -> None:
        self._socket.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self._outbox.clear()
        for pipe in self.pipes:
            pipe.close()
        self.pipes.clear()


def _fork_when_allowed(sweep: str) -> int:
    """`os.fork`, after a wait where the sandbox is full: processes that were killed count until somebody collects them."""
    deadline = time.monotonic() + FORK_PATIENCE_S
    while True:
        try:
            return os.fork()
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        if sweep == "all":
            _collect_ended()
        time.sleep(FORK_AGAIN_S)


def _collect_ended() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass  # others collect them: this process has none


def _become_child(control: int, outputs: list[int], main: Callable[[int], None]) -> None:
    """In the forked child: keep the control socket and the pipes, let go of everything else, run `main`."""
    status = 70
    try:
        os.setpgid(0, 0)
        kept = fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
        null = os.open("/dev/null", os.O_RDONLY)
        for target, source in enumerate([null, *outputs]):
            # Through a high copy: a source may sit on a descriptor that is about to be replaced.
            os.dup2(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR), target)
        # Above all the host's descriptors, which also sit high: the code of a cell must not find them.
        os.closerange(3, kept)
        os.closerange(kept + 1, MAX_DESCRIPTORS)
        main(kept)
        status = 0
    finally:
        os._exit(status)


def poll_events() -> tuple[int, int]:
    """(readable, writable) masks; a hang-up counts as readable."""
    return select.POLLIN | select.POLLHUP | select.POLLERR, select.POLLOUT
