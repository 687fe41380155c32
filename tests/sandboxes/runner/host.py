"""The host's side of a runner for tests: start one, talk to it, wait for frames."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandboxes.contract import MAX_LINE_BYTES
from sandboxes.frames import State, decode_runner_frame
from sandboxes.runner import bundle

DEADLINE_S = 20.0
Frame = dict[str, Any]


class RunnerHost:
    """A runner without any isolation, on a socket pair. Every line from it is held to the protocol."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        script = folder / "runner.py"
        script.write_text(bundle.source())
        workspace = folder / "work"
        workspace.mkdir(exist_ok=True)
        self.workspace = workspace
        self.socket, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-B", str(script), "--workspace", str(workspace), *options],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            cwd=workspace,
            env={"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"},
        )
        theirs.close()
        self.frames: list[Frame] = []
        self.side: list[dict[str, Any]] = []
        """What came for clients beside the host."""
        self.last_seq = 0
        self._buffer = bytearray()
        self._ids = itertools.count(1)

    # Out --------------------------------------------------------------------------------------------------------

    def send(self, *frames: Frame) -> None:
        self.send_raw(b"".join(json.dumps(frame).encode() + b"\n" for frame in frames))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exec(self, code: str, **fields: Any) -> str:
        cell = f"cell-{next(self._ids)}"
        self.send({"type": "exec", "id": cell, "code": {"text": code}, **fields})
        return cell

    # In ---------------------------------------------------------------------------------------------------------

    def _read(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        assert left > 0, f"nothing came in time; frames so far: {self.frames[-5:]}"
        if not select.select([self.socket], [], [], left)[0]:
            return
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("the runner ended")
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._check(line)

    def _check(self, line: bytes) -> None:
        assert len(line) < MAX_LINE_BYTES
        if line.startswith(b'{"type":"side"'):
            self.side.append(json.loads(line))
            return
        frame = decode_runner_frame(line)
        if not isinstance(frame, State):
            assert frame.seq == self.last_seq + 1, "frames are numbered without gaps"
            self.last_seq = frame.seq
        self.frames.append(json.loads(line))

    def wait(self, matches: Callable[[Frame], bool], *, after: int = 0, timeout_s: float = DEADLINE_S) -> Frame:
        """The first frame past position `after` that matches."""
        deadline = time.monotonic() + timeout_s
        while True:
            for frame in self.frames[after:]:
                if matches(frame):
                    return frame
            self._read(deadline)

    def wait_side(self, id: str) -> Frame:
        """The answer to a request of a client beside the host."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for line in self.side:
                if line["frame"].get("id") == id:
                    return dict(line["frame"])
            self._read(deadline)

    def wait_type(self, kind: str, *, after: int = 0, **fields: Any) -> Frame:
        wanted = {"type": kind, **fields}
        return self.wait(lambda f: all(f.get(name) == value for name, value in wanted.items()), after=after)

    def run(self, code: str, **fields: Any) -> Frame:
        """Run a cell to its end; the frame gets the cell's output as `stdout` and `stderr`."""
        cell = self.exec(code, **fields)
        finished = self.wait_type("finished", cell=cell)
        for stream in ("stdout", "stderr"):
            finished[stream] = self.output(cell, stream)
        return finished

    def output(self, cell: str, stream: str = "stdout", *, late: bool = False) -> str:
        return "".join(
            frame["text"]
            for frame in self.frames
            if frame["type"] == "output"
            and frame["cell"] == cell
            and frame["stream"] == stream
            and frame.get("late", False) is late
        )

    def attach(self, after: int) -> Frame:
        """Come back as the host, as after a broken stream; frames past `after` are expected again."""
        self.last_seq = after
        id = f"attach-{next(self._ids)}"
        self._buffer.clear()
        self.send({"type": "attach", "id": id, "after": after})
        deadline = time.monotonic() + DEADLINE_S
        while True:
            # What was on its way before is not numbered as we now expect: skip to the answer.
            data = self.socket.recv(1 << 16)
            self._buffer += data
            start = self._buffer.find(f'{{"type":"state","id":"{id}"'.encode())
            assert time.monotonic() < deadline
            if start >= 0:
                del self._buffer[:start]
                break
        self.send_raw(b"")
        while b"\n" not in self._buffer:
            self._buffer += self.socket.recv(1 << 16)
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._check(line)
        return self.wait_type("state", id=id)

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def runner(folder: Path, *options: str) -> Iterator[RunnerHost]:
    host = RunnerHost(folder, *options)
    try:
        host.wait_type("ready")
        yield host
    finally:
        host.close()
