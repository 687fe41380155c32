"""A local sandbox service of one's own, and sandboxes of it with their runner at hand."""

from __future__ import annotations

import contextlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sandboxes import aio
from sandboxes.contract import Spec
from sandboxes.errors import SandboxError
from sandboxes.frames import Finished, Output, RunnerFrame, SnapshotTaken, SubCall
from sandboxes.link import RunnerLink
from sandboxes.local.processes import process_tree
from sandboxes.providers.local import LocalProvider, LocalSandbox

DEADLINE_S = 30.0


class Service:
    def __init__(self, *options: str) -> None:
        # Not pytest's folder: a socket's path may have 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="rlmweb-"))
        self.socket = self.folder / "s.sock"
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandboxes.local.service", "--socket", str(self.socket), *options], stderr=log
            )
        wait_for(lambda: self.socket.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        self.provider = LocalProvider(self.socket, autostart=False)
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            aio.run(self.provider.ping())
        except SandboxError:
            return False
        return True

    def processes(self) -> list[int]:
        """Everything that runs below the service."""
        return process_tree(self.process.pid)[1:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        aio.run(self.provider.close())
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def service(*options: str) -> Iterator[Service]:
    started = Service(*options)
    try:
        yield started
    finally:
        started.close()


@dataclass
class Result:
    finished: Finished
    stdout: str
    stderr: str

    @property
    def status(self) -> str:
        return self.finished.status

    @property
    def error(self) -> str:
        return self.finished.error.type if self.finished.error else ""


class Linked:
    """A sandbox and the link to its runner; frames are acknowledged as they are read."""

    def __init__(self, provider: LocalProvider, spec: Spec) -> None:
        self.sandbox: LocalSandbox = aio.run(provider.create(spec, idempotency_key=""))
        self.incoming: queue.Queue[RunnerFrame | SandboxError] = queue.Queue()
        self.frames: list[RunnerFrame] = []
        self.link = RunnerLink(self.sandbox, self.incoming.put, self.incoming.put)
        self.link.attach(0)
        self._cells = count(1)

    def next(self, timeout_s: float = DEADLINE_S) -> RunnerFrame:
        frame = self.incoming.get(timeout=timeout_s)
        if isinstance(frame, SandboxError):
            raise frame
        self.frames.append(frame)
        self.link.ack(frame.seq)  # type: ignore[union-attr]
        return frame

    def wait(self, matches: Callable[[RunnerFrame], bool], timeout_s: float = DEADLINE_S) -> RunnerFrame:
        deadline = time.monotonic() + timeout_s
        while not matches(frame := self.next(max(0.01, deadline - time.monotonic()))):
            pass
        return frame

    def start(self, code: str, timeout_s: float = 0.0) -> str:
        cell = f"cell-{next(self._cells)}"
        self.link.execute(cell, code, timeout_s)
        return cell

    def finish(self, cell: str, timeout_s: float = DEADLINE_S) -> Result:
        finished = self.wait(lambda f: isinstance(f, Finished) and f.cell == cell, timeout_s)
        assert isinstance(finished, Finished)
        return Result(finished, self.output(cell, "stdout"), self.output(cell, "stderr"))

    def run(self, code: str, timeout_s: float = 0.0) -> Result:
        return self.finish(self.start(code, timeout_s))

    def output(self, cell: str, stream: str = "stdout", *, late: bool = False) -> str:
        mine = (f for f in self.frames if isinstance(f, Output) and f.cell == cell and f.late is late)
        return "".join(f.text for f in mine if f.stream == stream)

    def snapshot(self, id: str, *, live: bool = True, durable: bool = True) -> SnapshotTaken:
        """Take a snapshot; returns as soon as the REPL may go on."""
        self.link.snapshot(id, live=live, durable=durable)
        taken = self.wait(lambda f: isinstance(f, SnapshotTaken) and f.id == id)
        assert isinstance(taken, SnapshotTaken)
        return taken

    def subcall(self) -> SubCall:
        call = self.wait(lambda f: isinstance(f, SubCall))
        assert isinstance(call, SubCall)
        return call

    def close(self) -> None:
        self.link.close()
        aio.run(self.sandbox.terminate())


def wait_for(condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    """Wait until `condition` holds; asserts that it does in time."""
    deadline = time.monotonic() + timeout_s
    tick = queue.Queue[None]()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        with contextlib.suppress(queue.Empty):
            tick.get(timeout=0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
