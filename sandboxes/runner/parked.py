"""In the sandbox: take a snapshot by forking, park the copy, and fork from it what writes it down or evaluates in it.

The copy itself runs no code of the session: it sits in `recvmsg` until the supervisor asks for a fork or goes away.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import gc
import os
import select
import stat
import sys

from sandboxes.runner.queries import Control
from sandboxes.runner.scratch import evaluate
from sandboxes.runner.syscalls import fork_sibling, fork_without_hooks
from sandboxes.runner.workspace import discard_aside, look, set_aside
from sandboxes.runner.writer import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.repl import Repl
    from sandboxes.runner.workspace import Listing

KEPT_LISTINGS = 64
UNFREEZE_GROWTH = 1.5
SETTLE_MS = 5_000
DESCRIPTORS_OF_CODE = 1024
NO_COPY = 72
"""Exit status of the process between the REPL and its copy when the second fork failed."""


class Taker:
    """The REPL's side of taking snapshots."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        self._marks: dict[str, dict[str, list[int]]] = {}
        """Marks of the workspace's entries at earlier snapshots, by their ids."""
        self._between = 0
        """Process number of the fork between this process and the copy, until it was collected."""
        self._frozen_at_kb = 0

    def take(self, message: dict[str, Any], line: int) -> dict[str, Any]:
        """Fork a copy that parks on descriptor `line`; the reply says what it is good for."""
        repl, id = self._repl, str(message["id"])
        listing = look(repl.options.workspace)
        folder = os.path.join(repl.options.workspace, str(message["folder"]))
        if message.get("durable"):
            set_aside(repl.options.workspace, listing, self._marks.get(str(message.get("base")), {}), folder)
        self._note(id, listing)
        repl.tracker.mark(id)
        reply = {"t": "taken", "n": message["n"], "threads": _other_threads()}
        private = _PrivateState()
        self._freeze()
        if reply["threads"] == 0 and self._clone(line, listing, private, message):
            os.close(line)
            return reply
        try:
            self._between = os.fork()
        except OSError as error:
            discard_aside(folder)
            os.close(line)
            return {**reply, "error": f"the REPL could not be copied: {error.strerror}"}
        if self._between == 0:
            _fork_again(repl, line, listing, private, message)
        os.close(line)
        return reply

    def _clone(self, line: int, listing: Listing, private: _PrivateState, message: dict[str, Any]) -> bool:
        """Fork the copy as a child of the supervisor, at the price of one fork; False where that cannot be."""
        try:
            child = fork_sibling()
        except OSError:
            return False
        if child == 0:
            park(self._repl, line, listing, private, message)
        return True

    def settle(self) -> None:
        """Collect the process in between: code that waits for its children must not meet it. It ends at once, unless
        code hooked into forks."""
        if self._between:
            try:
                if not _ends_soon(self._between):
                    os.kill(self._between, _signal.SIGKILL)
                os.waitpid(self._between, 0)
            except OSError:
                pass  # code ignores the ends of its children, so that the kernel collected it
            self._between = 0

    def _note(self, id: str, listing: Listing) -> None:
        self._marks[id] = listing.marks
        while len(self._marks) > KEPT_LISTINGS:
            del self._marks[next(iter(self._marks))]

    def _freeze(self) -> None:
        """Keep the garbage collector off what exists now: it would write to every page of it, and so copy it.

        What is garbage later is not found then; so from time to time, when memory grew, everything is given back to it.
        """
        import resource

        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self._frozen_at_kb and peak_kb > UNFREEZE_GROWTH * self._frozen_at_kb:
            self._frozen_at_kb = peak_kb
            gc.unfreeze()
            return
        self._frozen_at_kb = self._frozen_at_kb or peak_kb
        gc.freeze()


def _ends_soon(pid: int) -> bool:
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None or not hasattr(os, "pidfd_open"):
        return True
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(SETTLE_MS))
    finally:
        os.close(descriptor)


class _PrivateState:
    """What a fork does not keep as it is: places in open files, and the state of `random`, which seeds itself anew."""

    def __init__(self) -> None:
        self.open = _open_descriptors()
        self.files = [place for place in map(_place_in_file, self.open) if place]
        self._generator: Any = getattr(sys.modules.get("random"), "_inst", None)
        self._random = self._generator.getstate() if self._generator is not None else None

    def set_random(self) -> None:
        if self._random is not None:
            self._generator.setstate(self._random)


def _other_threads() -> int:
    """Threads besides this one, those of libraries included where they can be counted."""
    try:
        return len(os.listdir("/proc/self/task")) - 1
    except OSError:
        return len(sys._current_frames()) - 1


def _open_descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    except OSError:
        return _polled_descriptors()


def _polled_descriptors() -> list[int]:
    """Where /proc cannot be read: one question to the kernel about every number that a descriptor may have."""
    poll = select.poll()
    for descriptor in range(3, DESCRIPTORS_OF_CODE):
        poll.register(descriptor, 0)
    closed = {descriptor for descriptor, events in poll.poll(0) if events & select.POLLNVAL}
    return [descriptor for descriptor in range(3, DESCRIPTORS_OF_CODE) if descriptor not in closed]


def _place_in_file(descriptor: int) -> tuple[int, int, int] | None:
    """(descriptor, place, flags) of a regular file; None for anything else."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        import fcntl

        return descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return None


def _fork_again(repl: Repl, line: int, listing: Listing, private: _PrivateState, message: dict[str, Any]) -> None:
    """In the process in between: fork the copy and end, so that the copy is the supervisor's child."""
    status = NO_COPY
    try:
        if os.fork() == 0:
            park(repl, line, listing, private, message)
        status = 0
    finally:
        os._exit(status)


def park(repl: Repl, line: int, listing: Listing, private: _PrivateState, message: dict[str, Any]) -> None:
    """The main program of the copy; never returns. It does little: every page that it writes to is its own from then on."""
    try:
        gc.disable()
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # forks are collected by the kernel
        _go_first()
        try:
            os.setpgid(0, 0)
        except OSError:
            pass  # where signals cannot be scoped the sandbox refuses it; the supervisor does it
        _let_go_of_descriptors(line, private)
        control = Control(line)
        control.send({"t": "parked", "shared": _has_shared_memory()})
        while True:
            request = control.next_message()
            descriptors = control.take(int(request["fds"]))
            try:
                child = fork_without_hooks()
            except OSError:
                child = -1  # the supervisor sees the end of its line
            if child == 0:
                control.socket.close()
                gc.enable()
                private.set_random()
                if request["t"] == "write":
                    write(repl, request, descriptors, listing, str(message["folder"]))
                else:
                    evaluate(repl, request, descriptors, listing)
            for descriptor in descriptors:
                os.close(descriptor)
    finally:
        os._exit(1)


def _go_first() -> None:
    """When memory runs out, copies go before the REPL itself."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"1000")
        os.close(descriptor)
    except OSError:
        pass  # no /proc in this sandbox


def _let_go_of_descriptors(line: int, private: _PrivateState) -> None:
    """Keep nothing that the session would miss: a copy of a pipe's end would hold up whoever waits for its end.

    Regular files are opened once more, for reading, at the place where they were.
    """
    places = {descriptor: (place, flags) for descriptor, place, flags in private.files}
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for descriptor in [0, 1, 2, *private.open]:
        if descriptor in (line, null):
            continue  # `null` has the number of one that was closed since
        try:
            source = null
            os.fstat(descriptor)
            if descriptor in places:
                source = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                os.lseek(source, places[descriptor][0], os.SEEK_SET)
            os.dup2(source, descriptor, descriptor <= 2)
            if source != null:
                os.close(source)
        except OSError:
            _close_quietly(descriptor)


def _close_quietly(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass  # it was not open


def _has_shared_memory() -> bool:
    """Whether memory is shared with the session beyond the fork: then the copy does not stay what it was."""
    try:
        descriptor = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                lines = os.read(descriptor, 4096)  # whole lines, as the kernel gives them
                if b" rw-s " in lines or b" rwxs " in lines or not lines:
                    return bool(lines)
        finally:
            os.close(descriptor)
    except OSError:
        return False
