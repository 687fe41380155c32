"""Sessions of the toolbox as the vendor's daemon has them.

Every line of a command's output stands in its log behind three bytes that tell the stream; who follows a log gets it from
its beginning; input goes into a pipe, with a newline at its end, and into the log unless that was switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field

from tests.wire.process import Process

MARKS = {"stdout": b"\x01\x01\x01", "stderr": b"\x02\x02\x02"}
MESSAGE_BYTES = 32 * 1024


@dataclass
class Command:
    id: str
    line: str
    process: Process
    echo: bool
    log: bytearray = field(default_factory=bytearray)
    exit_code: int | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.ensure_future(self._pump())

    async def _pump(self) -> None:
        assert self.process.stderr is not None
        await asyncio.gather(self._copy("stdout", self.process.stdout), self._copy("stderr", self.process.stderr))
        self.exit_code = await self.process.wait()
        async with self.changed:
            self.changed.notify_all()

    async def _copy(self, kind: str, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            await self._append(MARKS[kind] + line.removesuffix(b"\n") + b"\n")

    async def _append(self, data: bytes) -> None:
        async with self.changed:
            self.log += data
            self.changed.notify_all()

    async def write(self, text: str) -> None:
        """Raises `BrokenPipeError` when it has ended."""
        if self.exit_code is not None:
            raise BrokenPipeError(f"the command has completed with {self.exit_code}")
        data = text.encode() if text.endswith("\n") else text.encode() + b"\n"
        await self.process.write(data)
        if self.echo:
            await self._append(MARKS["stdout"] + data)

    async def more(self, start: int) -> bytes:
        """What stands in the log behind `start`, and b"" when there will be no more."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.log) > start or self.exit_code is not None)
            return bytes(self.log[start : start + MESSAGE_BYTES])

    async def close(self) -> None:
        await self.process.close()
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task


@dataclass
class Session:
    id: str
    commands: dict[str, Command] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def close(self) -> None:
        for command in self.commands.values():
            await command.close()
