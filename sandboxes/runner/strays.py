"""Processes that code left behind: stop them between cells, end them with their REPL, and spare the parked copies."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandboxes.runner.forkline import ForkLine

SIGKILL, SIGCONT, SIGSTOP, SIGINT = 9, 18, 19, 2


class Strays:
    """`sweep` says which processes are the sandbox's:

    `all`: everything this process may signal, apart from itself (own pid namespace, or signals scoped by Landlock).
    `group`: the process group of the REPL only.
    """

    def __init__(self, sweep: str) -> None:
        self.sweep = sweep
        self.frozen = False

    def freeze(self, repl: int, kept: list[ForkLine]) -> None:
        """Stop every process that the cell left behind; the REPL itself and `kept` go on."""
        if any(not line.pid for line in kept):
            return  # one that we could not wake again would be stopped: this once they are left running
        if self.sweep == "all":
            if os.getpid() == 1 and not _others_than(repl, kept):
                return
            send_signal(-1, SIGSTOP)
            _wake(kept)
        else:
            send_group_signal(repl, SIGSTOP)
        send_signal(repl, SIGCONT)
        self.frozen = True

    def thaw(self, repl: int) -> None:
        if self.frozen:
            self.frozen = False
            send_group_signal(repl, SIGCONT) if self.sweep == "group" else send_signal(-1, SIGCONT)

    def kill(self, repl: int, kept: list[ForkLine]) -> None:
        """End everything but `kept`. Without a process space of our own nobody can be spared."""
        self.frozen = False
        if self.sweep == "group":
            send_group_signal(repl, SIGKILL)
        elif os.getpid() != 1 or not kept:
            send_signal(-1, SIGKILL)
        else:
            send_signal(-1, SIGSTOP)  # so that nothing starts while we look
            for pid in _others_than(0, kept):
                send_signal(pid, SIGKILL)
            _wake(kept)


def _wake(kept: Iterable[ForkLine]) -> None:
    for line in kept:
        line.wake()


def send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it is gone, or there is nothing that we may signal


def send_group_signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _others_than(repl: int, kept: Iterable[ForkLine]) -> list[int]:
    """The processes of this pid namespace besides its first one, the REPL and `kept`."""
    known = {1, repl, *(line.pid for line in kept)}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in known]
