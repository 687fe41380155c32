"""Processes as the API inside a sandbox keeps them: by name, with what they wrote, after their end, too."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.wire.process import Process

TAIL_BYTES = 65536
"""Results hold the end of each stream only."""
TEXT_CHUNK = 1021


class Running:
    def __init__(self, name: str, command: str, process: Process, *, stdin: bool) -> None:
        self.name = name
        self.command = command
        self.process = process
        self.stdin = stdin
        self.closed = False
        self.status = "running"
        self.exit_code = 0
        self.written: list[tuple[str, bytes]] = []
        self.done = asyncio.Event()
        self._changed = asyncio.Condition()
        self._tasks = [asyncio.ensure_future(self._watch())]

    async def _watch(self) -> None:
        async def copy(reader: asyncio.StreamReader, kind: str) -> None:
            while data := await reader.read(32768):
                self.written.append((kind, data))
                await self._notify()

        assert self.process.stderr is not None
        copies = asyncio.gather(copy(self.process.stdout, "stdout"), copy(self.process.stderr, "stderr"))
        self.exit_code = await self.process.wait()
        with contextlib.suppress(TimeoutError):  # what it left in the background may hold its output open
            await asyncio.wait_for(asyncio.shield(copies), 1.0)
        copies.cancel()
        self.status = "completed" if self.exit_code == 0 else "failed"
        await self.process.close()
        self.done.set()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def kill_after(self, seconds: float) -> None:
        async def wait() -> None:
            try:
                await asyncio.wait_for(self.done.wait(), seconds)
            except TimeoutError:
                self.process.kill()

        self._tasks.append(asyncio.ensure_future(wait()))

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """From the beginning to the end of the process."""
        count = 0
        while True:
            ended = self.done.is_set()
            while count < len(self.written):
                yield self.written[count]
                count += 1
            if ended:
                return
            async with self._changed:
                if count == len(self.written) and not self.done.is_set():
                    await self._changed.wait()

    def shown(self, *, new: bool) -> dict[str, Any]:
        def tail(kind: str) -> str:
            whole = b"".join(data for each, data in self.written if each == kind)
            return whole[-TAIL_BYTES:].decode("utf-8", "replace")

        return {
            "name": self.name,
            "pid": str(self.process.pid),
            "command": self.command,
            "status": self.status,
            "exitCode": self.exit_code,
            "stdout": tail("stdout"),
            "stderr": tail("stderr"),
            "logs": "",
            "startedAt": "Mon, 23 Nov 2026 12:00:00 GMT",
            "completedAt": "",
            "workingDir": "/",
            **({"stdin": self.stdin} if new else {}),
        }

    async def records(self) -> AsyncIterator[bytes]:
        """As images of autumn 2026 stream output."""
        yield _record("keepalive", "")
        async for kind, data in self.output():
            try:
                yield _record(kind, data.decode())
            except UnicodeDecodeError:
                yield _record(kind, base64.b64encode(data).decode(), encoding="base64")

    async def text(self) -> AsyncIterator[bytes]:
        """As older ones do: a mark before each chunk, wherever in a line that is, and signs of life in between."""
        async for kind, data in self.output():
            for start in range(0, len(data), TEXT_CHUNK):
                yield f"{kind}:".encode() + data[start : start + TEXT_CHUNK]
                if start:
                    yield b"[keepalive]\n"

    async def records_and_result(self, *, new: bool) -> AsyncIterator[bytes]:
        async for record in self.records():
            yield record
        yield _record("result", json.dumps(self.shown(new=new)))


def _record(kind: str, data: str, **more: str) -> bytes:
    return json.dumps({"type": kind, "data": data, **more}).encode() + b"\n"
