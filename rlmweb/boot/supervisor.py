"""Keeps child processes running: starts them in order, starts again what dies, stops all of them in reverse
order.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rlmweb.boot import pidfiles
from rlmweb.boot.children import Child
from rlmweb.boot.progress import Progress

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 30.0
IDLE_POLL_S = 1.0
LOG_MAX_BYTES = 20 * 2**20


class StopRequested(Exception):
    """Ctrl-C, SIGTERM or a closed terminal arrived while something was being waited for."""


@dataclass
class Watched:
    """A child under supervision and when to start it again."""

    child: Child
    failures: int = 0
    started_s: float = 0.0
    restart_at_s: float | None = None


class Supervisor:
    """Use from the main thread: the kernel ties children to the thread that forked them."""

    def __init__(self, progress: Progress, run_dir: Path) -> None:
        self.progress = progress
        self.run_dir = run_dir
        self.stopping = False
        self._watched: list[Watched] = []
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn the stop signals into `stopping`, and let them and the end of a child wake `pause()` at
        once.
        """
        before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def pause(self, timeout_s: float) -> None:
        """Sleep until a signal or the timeout."""
        ready, _, _ = select.select([self._wake_read], [], [], timeout_s)
        if ready:
            os.read(self._wake_read, 4096)

    def check(self) -> None:
        if self.stopping:
            raise StopRequested

    def start(self, child: Child, ready_timeout_s: float | None = None) -> None:
        """Start `child` and keep it running. With a timeout, return only when it answers (or raise
        ChildFailed).
        """
        self.check()
        watched = Watched(child)
        self._watched.append(watched)
        self._launch(watched)
        if ready_timeout_s is not None:
            self.wait_ready(child, ready_timeout_s)

    def wait_ready(self, child: Child, timeout_s: float) -> None:
        child.wait_ready(timeout_s, checkpoint=self.check)

    def run_once(self, child: Child) -> int:
        """Run a short child to its end and return its status; a stop signal ends it, too."""
        child.start()
        assert child.process is not None
        try:
            while child.is_alive:
                self.check()
                self.pause(IDLE_POLL_S)
        finally:
            child.stop()
        return child.process.returncode

    def watch(self) -> None:
        """Start again whatever ends, until a stop signal."""
        while not self.stopping:
            now_s = time.monotonic()
            for watched in self._watched:
                self._look_after(watched, now_s)
            due = [watched.restart_at_s for watched in self._watched if watched.restart_at_s is not None]
            self.pause(max(0.0, min([IDLE_POLL_S, *(at_s - now_s for at_s in due)])))

    def _look_after(self, watched: Watched, now_s: float) -> None:
        if watched.restart_at_s is not None:
            if now_s >= watched.restart_at_s:
                self._launch(watched)
        elif not watched.child.is_alive:
            if not watched.child.has_done_its_work:
                self._plan_restart(watched, now_s)
        elif watched.failures and now_s - watched.started_s > STEADY_AFTER_S:
            watched.failures = 0

    def _plan_restart(self, watched: Watched, now_s: float) -> None:
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**watched.failures)
        watched.failures += 1
        watched.restart_at_s = now_s + delay_s
        child = watched.child
        child.stop()  # what it left in its process group would otherwise run on beside the new one
        code = None if child.process is None else child.process.returncode
        self.progress.say(f"{child.name} ended with status {code}; again in {delay_s:.1f} s (see {child.log}).")

    def _launch(self, watched: Watched) -> None:
        child = watched.child
        watched.restart_at_s = None
        watched.started_s = time.monotonic()
        _keep_short(child.log)
        child.start()
        assert child.pid is not None
        pidfiles.write(self.run_dir, child.name, child.pid)

    def stop_all(self) -> None:
        """Stop in reverse order of start; those of one rank at the same time, so one slow process does not
        delay the rest.
        """
        self.stopping = True
        for rank in sorted({watched.child.stop_rank for watched in self._watched}):
            group = [watched.child for watched in self._watched if watched.child.stop_rank == rank]
            for child in reversed(group):
                child.request_stop()
            deadline_s = time.monotonic() + STOP_TIMEOUT_S
            for child in reversed(group):
                child.stop(max(0.0, deadline_s - time.monotonic()))
                pidfiles.remove(self.run_dir, child.name)
        self._watched.clear()


def _keep_short(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.rename(log.with_name(log.name + ".old"))
