"""In the sandbox: keep the runner, and a socket through which its host and side clients reach it.

    line.py hub --workspace DIR [--memory-mb N] ...     start the runner, and stay; returns when the socket is there
    line.py attach host|side --workspace DIR [--framed] be one end of the line: standard input and output
    line.py exec BASE64                                 run a command to its end: see `execute`
    line.py read|append PATH ...                        files over a line of text: see `serve_file`

Vendors' streams break: at snapshots, at deploys, after idle hours. The runner must not end with them, so what the host
starts through the vendor is only `attach`, and the hub is a process of its own. Whoever can open the socket, code of the
session included, can speak as the host; it harms no more than its own session, whose record is the host's.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import fcntl
import os
import select
import socket
import sys

from sandboxes.errors import CapacityUnavailable, NotFound
from sandboxes.relay import ClientLine, RunnerLine, SideLine
from sandboxes.remote.commands import COPY_BYTES, answered
from sandboxes.runner_env import RUNNER_ENV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = ".rlm/line"
SOCKET = f"{FOLDER}/socket"
RUNNER = f"{FOLDER}/runner.py"
LOG = f"{FOLDER}/log"
ATTACHED, ABSENT = b'{"line":"attached"}\n', b'{"line":"absent"}\n'
"""First line of `attach`: there is a hub, or there is none and one has to be started."""
PADDING = b"\n\n"
"""Behind what is framed: Daytona's client keeps up to two bytes at the end of an output to itself until more arrives."""
READY_S = 30.0


class Joining(asyncio.Protocol):
    """A connection to the hub's socket: its first line says whether it is the host's or one beside it."""

    def __init__(self, runner: RunnerLine) -> None:
        self._runner = runner
        self._first = bytearray()
        self._line: ClientLine | SideLine | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._line is None:
            self._first += data
            kind, newline, rest = bytes(self._first).partition(b"\n")
            if not newline:
                if len(self._first) > 100:
                    self._transport.abort()
                return
            data = rest
            if not self._join(kind):
                self._transport.abort()
                return
        if data and self._line is not None:
            self._line.received(data)

    def _join(self, kind: bytes) -> bool:
        try:
            if kind == b"side":
                self._line = SideLine(self._transport, self._runner)
            elif kind == b"host":
                self._line = host = ClientLine(self._transport, self._runner)
                self._runner.attach(host)
        except (NotFound, CapacityUnavailable) as error:
            sys.stderr.write(f"a connection was refused: {error}\n")
        return self._line is not None

    def pause_writing(self) -> None:
        if self._line is not None:
            self._line.runner_may_write(False)

    def resume_writing(self) -> None:
        if self._line is not None:
            self._line.runner_may_write(True)

    def connection_lost(self, error: Exception | None) -> None:
        if self._line is not None:
            self._line.lost()


async def keep(workspace: str, arguments: list[str], ready: int) -> None:
    """Start the runner and serve the socket until the runner ends. A byte to `ready` when both are there."""
    loop = asyncio.get_running_loop()
    started, ended = loop.create_future(), loop.create_future()

    def settle(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    ours, theirs = socket.socketpair()
    runner = os.fork()
    if runner == 0:
        os.dup2(theirs.fileno(), 0)
        os.dup2(theirs.fileno(), 1)
        command = [sys.executable, "-s", "-B", os.path.join(workspace, RUNNER), *arguments, "--relay", "1"]
        os.chdir(workspace)
        os.execve(sys.executable, command, {**RUNNER_ENV, **os.environ})  # noqa: S606
    theirs.close()
    ours.setblocking(False)
    line = RunnerLine(lambda: settle(started), lambda: settle(ended), lambda count: None)
    line.open_gate()
    await loop.create_connection(lambda: line, sock=ours)
    await asyncio.wait([started, ended], timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
    if not started.done() or ended.done():
        raise SystemExit("the runner did not start")
    path = os.path.join(workspace, SOCKET)
    _remove(path)
    server = await loop.create_unix_server(lambda: Joining(line), path)
    os.chmod(path, 0o600)
    os.write(ready, b"1")
    os.close(ready)
    await ended
    server.close()
    _remove(path)
    os.waitpid(runner, 0)  # noqa: ASYNC222  # it has closed its line, and nothing else is left to do


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def start(workspace: str, arguments: list[str]) -> None:
    """Leave a hub behind, apart from this process and its streams. Exits with 1 when it did not come up."""
    lock = os.open(os.path.join(workspace, f"{FOLDER}/lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the hub keeps it open no longer than this process
    if _connect(workspace) is not None:
        return
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.close(reader)
        os.close(lock)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(os.path.join(workspace, LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for target, source in ((0, null), (1, null), (2, log)):
            os.dup2(source, target)
        asyncio.run(keep(workspace, arguments, writer))
        os._exit(0)
    os.close(writer)
    os.wait()
    if os.read(reader, 1) != b"1":
        with open(os.path.join(workspace, LOG), errors="replace") as file:
            sys.exit(f"the runner could not be started: {file.read()[-2000:]}")


def _connect(workspace: str) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    try:
        os.chdir(workspace)  # paths of sockets are short
        line.connect(SOCKET)
    except OSError:
        line.close()
        return None
    finally:
        os.chdir(here)
    return line


def attach(workspace: str, kind: str, *, framed: bool = False) -> None:
    """Copy between standard input and output and the hub, until one of them ends. `framed`: see `Unframed`."""
    line = _connect(workspace)
    if line is None:
        os.write(1, ABSENT)
        return
    line.sendall(kind.encode() + b"\n")
    os.write(1, ATTACHED + PADDING if framed else ATTACHED)
    unframed = Unframed() if framed else None
    while True:
        readable, _, _ = select.select([0, line.fileno()], [], [])
        if line.fileno() in readable:
            data = line.recv(COPY_BYTES)
            if not data:
                return
            _write_all(1, framed_line(data) if framed else data)
        if 0 in readable:
            data = os.read(0, COPY_BYTES)
            if not data:
                return
            line.sendall(unframed.feed(data) if unframed is not None else data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Unframed:
    """Input over a stream that carries text only, and may repeat what it was given: lines of a number and base64.

    A line that was there before is dropped, and so is one without a number: a terminal that repeats what it was given
    repeats the command that started this, too. One that is missing ends the process: the host attaches anew.
    """

    def __init__(self) -> None:
        self._partial = bytearray()
        self._last = 0

    def feed(self, data: bytes) -> bytes:
        self._partial += data
        found = bytearray()
        while True:
            end = self._partial.find(b"\n")
            if end < 0:
                return bytes(found)
            number, _, text = bytes(self._partial[:end]).partition(b" ")
            del self._partial[: end + 1]
            if not number.isdigit():
                continue
            if int(number) == self._last + 1:
                self._last += 1
                found += binascii.a2b_base64(text)
            elif int(number) > self._last:
                sys.exit(f"line {self._last + 1} is missing")


def framed_line(data: bytes) -> bytes:
    return binascii.b2a_base64(data) + PADDING


def main(words: list[str]) -> None:
    if answered(words):
        return
    workspace = os.path.abspath(words[words.index("--workspace") + 1])
    if words[0] == "hub":
        start(workspace, words[1:])
    else:
        attach(workspace, words[1], framed="--framed" in words)


if __name__ == "__main__":
    main(sys.argv[1:])
