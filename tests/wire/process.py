"""A real process with pipes on whatever event loop is there.

`asyncio.subprocess` is not used: its watcher of ends and `Popen.poll` take them from each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

LIMIT_BYTES = 1 << 22


class Process:
    """`stdout` and `stderr` are read as streams; with `stderr` None both come through `stdout`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._room = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = []
        self._ended: asyncio.Task[int] | None = None

    @classmethod
    async def start(cls, command: Sequence[str], *, stderr: bool, env: Mapping[str, str]) -> Process:
        popen = subprocess.Popen(  # noqa: ASYNC220  # it returns as soon as the program is started
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr else subprocess.STDOUT,
            start_new_session=True,
            env=dict(env),
            cwd="/",
        )
        process = cls(popen)
        process.stdout = await process._reader(popen.stdout)
        if stderr:
            process.stderr = await process._reader(popen.stderr)
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: _Input(process._room), popen.stdin)
        process._stdin = transport
        process._transports.append(transport)
        return process

    async def _reader(self, pipe: object) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(LIMIT_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._transports.append(transport)
        return reader

    @property
    def returncode(self) -> int | None:
        return self.popen.returncode

    async def write(self, data: bytes) -> None:
        """Raises `BrokenPipeError` when nobody reads it any more."""
        if self._stdin is None or self._stdin.is_closing():
            raise BrokenPipeError("the process does not read")
        self._stdin.write(data)
        await self._room.wait()

    def close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    async def wait(self) -> int:
        """The exit code as a shell tells it: 128 and the number of the signal."""
        if self._ended is None:
            self._ended = asyncio.ensure_future(asyncio.to_thread(self.popen.wait))
        code = await asyncio.shield(self._ended)
        return 128 - code if code < 0 else code

    async def communicate(self) -> tuple[bytes, bytes]:
        async def rest(reader: asyncio.StreamReader | None) -> bytes:
            return await reader.read() if reader is not None else b""

        self.close_stdin()
        stdout, stderr = await asyncio.gather(rest(self.stdout), rest(self.stderr))
        await self.wait()
        return stdout, stderr

    def kill(self) -> None:
        """It and its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and let go of its pipes."""
        self.kill()
        await self.wait()
        for transport in self._transports:
            transport.close()


class _Input(asyncio.BaseProtocol):
    def __init__(self, room: asyncio.Event) -> None:
        self._room = room
        room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._room.set()
