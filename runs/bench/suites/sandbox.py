"""What the local sandbox costs beside its pieces: a bare interpreter, and a bare pipe.

The service is one of our own, so that what is measured is this checkout and not whatever already runs.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runs.bench.bars import Target
from runs.bench.stats import p50, p95, paired
from runs.bench.suite import Bench, CannotMeasure, suite
from sandboxes import aio
from sandboxes.contract import Sandbox, Spec
from sandboxes.errors import SandboxError
from sandboxes.frames import Finished, RunnerFrame
from sandboxes.link import RunnerLink
from sandboxes.local.processes import process_tree, proportional_bytes
from sandboxes.providers.local import LocalProvider

SANDBOX = suite("sandbox", "What a local sandbox costs beside a bare interpreter and a bare pipe.")
DEADLINE_S = 20.0
MIB = 1024 * 1024
ECHO = "import sys\nfor line in sys.stdin.buffer:\n  sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"


class Service:
    """A local sandbox service with a pool of `pool`."""

    def __init__(self, folder: Path, pool: int) -> None:
        socket = folder / f"pool-{pool}.sock"
        self.provider = LocalProvider(socket, autostart=True, pool=pool)
        self.tier = aio.run(self.provider.ping())
        self.pid = int(Path(f"{socket}.lock").read_text())

    def create(self) -> Sandbox:
        return aio.run(self.provider.create(Spec(), idempotency_key=""))

    def wait_until_filled(self, pool: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while aio.run(self.provider.waiting()) < pool:
            if time.monotonic() > deadline:
                raise CannotMeasure("the pool of the service did not fill up")

    def close(self) -> None:
        aio.run(self.provider.close())
        os.kill(self.pid, signal.SIGTERM)


@contextlib.contextmanager
def service(pool: int) -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="rlmweb-bench-"))
    try:
        started = Service(folder, pool)
    except SandboxError as error:
        raise CannotMeasure(f"no local sandbox: {error}") from error
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(folder, ignore_errors=True)


class Cells:
    """Runs cells in one sandbox, one after the other."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._frames: queue.Queue[RunnerFrame | SandboxError] = queue.Queue()
        self.link = RunnerLink(sandbox, self._frames.put, self._frames.put)
        self.link.attach(0)
        self._count = 0

    def run(self, code: str) -> Finished:
        self._count += 1
        self.link.execute(f"c{self._count}", code)
        while True:
            frame = self._frames.get(timeout=DEADLINE_S)
            if isinstance(frame, SandboxError):
                raise frame
            if isinstance(frame, Finished):
                self.link.ack(frame.seq)
                return frame


def _interpreter() -> str:
    """The interpreter that sandboxes run: not the virtual environment's."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _bare_start() -> None:
    subprocess.run([_interpreter(), "-I", "-S", "-c", ""], check=True, timeout=DEADLINE_S)


@SANDBOX.measurement(Target("warm sandbox ready p50", "ms", at_most=2), Target("warm sandbox ready p95", "ms"))
def warm(bench: Bench) -> None:
    """From the client's `create` to a sandbox that can be used, out of the pool."""
    durations_ms = []
    with service(pool=2) as started:
        bench.say(started.tier)
        for _ in range(bench.rounds(60, 10)):
            started.wait_until_filled(2)
            began = time.perf_counter()
            sandbox = started.create()
            durations_ms.append((time.perf_counter() - began) * 1000)
            aio.run(sandbox.terminate())
    bench.record("warm sandbox ready p50", p50(durations_ms), n=len(durations_ms))
    bench.record("warm sandbox ready p95", p95(durations_ms), n=len(durations_ms))


@SANDBOX.measurement(Target("cold sandbox ready p50", "ms", ratio_at_most=2.5))
def cold(bench: Bench) -> None:
    """From `create` to ready without a pool, beside `python -I -S -c ''`."""
    made: list[Sandbox] = []
    with service(pool=0) as started:

        def start() -> None:
            made.append(started.create())

        # They are ended after the measurement: the end of one would fall into the time of the next.
        result = paired(start, _bare_start, rounds=bench.rounds(40, 10), warm_up=3)
        while made:
            aio.run(made.pop().terminate())
    bench.record("cold sandbox ready p50", p50(result.subject_ms), reference=p50(result.reference_ms), n=result.n)


@SANDBOX.measurement(Target("cold sandbox to first result p50", "ms"))
def cold_to_result(bench: Bench) -> None:
    """From `create` without a pool to the result of a first cell: what `ready` leaves out."""
    durations_ms = []
    with service(pool=0) as started:
        for _ in range(bench.rounds(30, 5)):
            began = time.perf_counter()
            sandbox = started.create()
            cells = Cells(sandbox)
            cells.run("x = 1")
            durations_ms.append((time.perf_counter() - began) * 1000)
            cells.link.close()
            aio.run(sandbox.terminate())
    bench.record("cold sandbox to first result p50", p50(durations_ms), n=len(durations_ms))


@SANDBOX.measurement(Target("cell round trip above a pipe p50", "ms", at_most=1.5), Target("cell round trip p95", "ms"))
def round_trip(bench: Bench) -> None:
    """From `execute` to `finished` through link, service, supervisor and REPL, beside one line through a pipe."""
    with service(pool=1) as started, _echo() as echo:
        cells = Cells(started.create())
        rounds = bench.rounds(1000, 100)
        result = paired(lambda: cells.run("x = 1"), echo, rounds=rounds, warm_up=20)
        cells.link.close()
    bench.record(
        "cell round trip above a pipe p50", result.difference_ms, reference=p50(result.reference_ms), n=result.n
    )
    bench.record("cell round trip p95", p95(result.subject_ms), n=result.n)


@contextlib.contextmanager
def _echo() -> Iterator[Callable[[], None]]:
    """A line to another interpreter and back."""
    command = [_interpreter(), "-I", "-S", "-u", "-c", ECHO]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def once() -> None:
            stdin.write(b'{"type":"exec","id":"c1","code":{"text":"x = 1"}}\n')
            stdin.flush()
            stdout.readline()

        yield once


@SANDBOX.measurement(
    Target("service memory", "MiB", at_most=30),
    Target("idle sandbox memory", "MiB"),
)
def memory(bench: Bench) -> None:
    """Resident memory of the service; proportional memory of one waiting sandbox with launcher, supervisor and REPL."""
    with service(pool=2) as started:
        started.wait_until_filled(2)
        tree = process_tree(started.pid)[1:]
        resident = int(Path(f"/proc/{started.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        bench.record("service memory", resident / MIB)
        bench.record("idle sandbox memory", proportional_bytes(tree) / MIB / 2, n=2)
