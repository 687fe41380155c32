"""Child processes that cannot outlive the process that started them.

Linux delivers a signal to a child when the thread that forked it ends (PR_SET_PDEATHSIG), so even `kill -9`
of the parent leaves nothing behind. Start children from a thread that lives as long as the program: the main
thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
LOG_TAIL_BYTES = 2_000
READY_POLL_S = 0.01

# Loaded here and not between fork and exec, where importing or allocating libraries is unsafe.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(RuntimeError):
    """A child process ended, or did not get ready, when it should have; carries the end of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        self.log = log
        super().__init__(f"{name} {what}; the end of {log}:\n{tail(log)}")


@dataclass(frozen=True)
class Identity:
    """Who a child runs as: ourselves, another user (`uid`), or ourselves under another number in a user
    namespace.
    """

    uid: int | None = None
    gid: int | None = None
    mapped: bool = False

    @property
    def popen_options(self) -> dict[str, object]:
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


SELF = Identity()
MAPPED = Identity(mapped=True)


def enter_user_namespace() -> None:
    """Make this root process look like uid 1000 to itself, keeping its rights as owner of root's files."""
    assert _LIBC is not None
    uid, gid = os.geteuid(), os.getegid()
    if _LIBC.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "user namespaces are refused here")
    for name, line in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, line.encode())
        os.close(fd)


def die_with_parent(death_signal: int, parent_pid: int) -> None:
    """Ask the kernel for `death_signal` when the parent ends; ends at once if that has happened already."""
    if _LIBC is None:
        return
    _LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def before_exec(death_signal: int, identity: Identity = SELF) -> Callable[[], None]:
    """The code that runs in the child between fork and exec. A change of credentials clears the death
    signal, so it comes last.
    """
    parent_pid = os.getpid()

    def prepare() -> None:
        if identity.mapped:
            enter_user_namespace()
        die_with_parent(death_signal, parent_pid)

    return prepare


def tail(log: Path, size_bytes: int = LOG_TAIL_BYTES) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size_bytes))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "(no log)"


@dataclass
class Child:
    """A long-running process: how to start it, how to see that it is ready, how to stop it."""

    name: str
    argv: Sequence[str | Path]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    identity: Identity = SELF
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()
    once: bool = False  # it does one thing: when it has ended well it is not started again
    stop_rank: int = 0  # lower ranks stop first; data services come last
    is_ready: Callable[[], bool] = lambda: True
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C reaches only the
        supervisor.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                [str(part) for part in self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                pass_fds=self.pass_fds,
                start_new_session=True,
                preexec_fn=before_exec(self.death_signal, self.identity),
                **self.identity.popen_options,
            )

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def has_done_its_work(self) -> bool:
        return self.once and self.process is not None and self.process.poll() == 0

    def wait_ready(self, timeout_s: float, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Block until the process answers; raises ChildFailed when it ends or stays silent, and what
        `checkpoint` raises.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            checkpoint()
            if not self.is_alive:
                code = None if self.process is None else self.process.returncode
                raise ChildFailed(self.name, f"ended with status {code} while starting", self.log)
            if time.monotonic() > deadline:
                raise ChildFailed(self.name, f"did not answer within {timeout_s:g} s", self.log)
            time.sleep(READY_POLL_S)

    def request_stop(self) -> None:
        if self.is_alive and self.process is not None:
            self.process.send_signal(self.stop_signal)

    def stop(self, timeout_s: float = 10) -> None:
        """Ask the process to end; after `timeout_s` kill it and what it left in its process group."""
        if self.process is None:
            return
        self.request_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
