"""The supervisor's handle on the REPL process: fork it, talk to it, feed it pipes, freeze and kill what it left."""

from __future__ import annotations

import _socket
import fcntl
import os
import select

from sandboxes.runner.output import KEPT_PIPES, CellOutput, OutputPipe
from sandboxes.runner.wire import LineReader, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SIGKILL, SIGCONT, SIGSTOP, SIGINT = 9, 18, 19, 2
HIGH_DESCRIPTOR = 200
"""The REPL keeps its own descriptors from here on, away from code that closes the low ones."""
MAX_DESCRIPTORS = 4096


class ReplProcess:
    """One REPL process and the descriptors that lead to it. The other end is hostile: nothing it says is trusted."""

    def __init__(self, main: Callable[[int], None], sweep: str, budget: CellOutput) -> None:
        """`main(control)` runs in the child and never returns. `sweep` says which processes are the sandbox's:

        `all`: everything this process may signal, apart from itself (own pid namespace, or signals scoped by Landlock).
        `group`: the child's process group only.
        """
        self.sweep = sweep
        self.frozen = False
        self.condemned = False
        """It broke its protocol and was killed; whatever else it sent before it died is not listened to."""
        self.exit_status: int | None = None
        self.lines = LineReader()
        self.pipes: list[OutputPipe] = []
        self._outgoing = bytearray()
        self._passing: list[int] = []
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
        outputs = self._new_pipes(budget)
        self.pid = os.fork()
        if self.pid == 0:
            _become_child(theirs.fileno(), outputs, main)
        theirs.close()
        for descriptor in outputs:
            os.close(descriptor)
        ours.setblocking(False)
        self._socket = ours
        self.control = ours.fileno()
        self.pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1

    # Messages ---------------------------------------------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> None:
        self._outgoing += encode(message)
        self.write_some()

    @property
    def wants_write(self) -> bool:
        return bool(self._outgoing)

    def write_some(self) -> None:
        try:
            while self._outgoing:
                if self._passing:
                    rights = b"".join(number.to_bytes(4, "little") for number in self._passing)
                    count = self._socket.sendmsg(
                        [self._outgoing[:1]], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
                    )
                    self._close_passed()
                else:
                    count = self._socket.send(self._outgoing)
                del self._outgoing[:count]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # the child is gone; its exit is noticed elsewhere

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

    def begin_output(self, budget: CellOutput, *, fresh: bool) -> None:
        """Book what comes from now on to `budget`; with `fresh` on new pipes: older code still holds the old ones."""
        if fresh:
            self._passing = self._new_pipes(budget)
        else:
            for pipe in self.pipes[-2:]:
                pipe.budget = budget

    def _close_passed(self) -> None:
        for descriptor in self._passing:
            os.close(descriptor)
        self._passing = []

    # Signals ----------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        _send_signal(self.pid, SIGINT)

    def freeze_strays(self) -> None:
        """Stop every process that the cell left behind; the REPL itself goes on."""
        if self.sweep == "all":
            if os.getpid() == 1 and not _others_than(self.pid):
                return
            _send_signal(-1, SIGSTOP)
        else:
            _send_group_signal(self.pid, SIGSTOP)
        _send_signal(self.pid, SIGCONT)
        self.frozen = True

    def thaw_strays(self) -> None:
        if self.frozen:
            self.frozen = False
            _send_group_signal(self.pid, SIGCONT) if self.sweep == "group" else _send_signal(-1, SIGCONT)

    def kill(self) -> None:
        _send_signal(self.pid, SIGKILL)

    def kill_strays(self) -> None:
        if self.sweep == "all":
            _send_signal(-1, SIGKILL)
        else:
            _send_group_signal(self.pid, SIGKILL)

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
        self._close_passed()
        for pipe in self.pipes:
            pipe.close()
        self.pipes.clear()


def _send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it is gone, or there is nothing that we may signal


def _send_group_signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _others_than(pid: int) -> bool:
    """Whether this pid namespace holds processes besides its first one and `pid`."""
    known = {"1", str(pid)}
    return any(name.isdigit() and name not in known for name in os.listdir("/proc"))


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
