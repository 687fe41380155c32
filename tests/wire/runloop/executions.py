"""Commands of a devbox: a login shell in the home folder, a log of each stream, input where it was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from runloop_api_client.types import DevboxAsyncExecutionDetailView
from runloop_api_client.types.devboxes import ExecutionUpdateChunk

from tests.wire.engine import Box
from tests.wire.faults import Faults
from tests.wire.process import Process

PIECE_BYTES = 16 * 1024
ANSWER_BYTES = 256 * 1024
"""More output than this is in no answer but in the log."""
ANSWER_LINES = 100


class Dropped(Exception):
    """The connection of a stream breaks."""


@dataclass
class Execution:
    id: str
    box: Box
    command: str
    process: Process
    attached: bool
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    exit_status: int | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, id: str, box: Box, command: str, *, attached: bool) -> Execution:
        process = await box.spawn(["bash", "-lc", command], cwd="/home/user")
        if not attached:
            process.close_stdin()
        found = cls(id, box, command, process, attached)
        found.task = asyncio.ensure_future(found._pump())
        return found

    async def _pump(self) -> None:
        assert self.process.stderr is not None
        await asyncio.gather(self._copy(self.process.stdout, self.stdout), self._copy(self.process.stderr, self.stderr))
        code = await self.process.wait()
        async with self.changed:
            self.exit_status = code
            self.changed.notify_all()
        await self.process.close()

    async def _copy(self, reader: asyncio.StreamReader, log: bytearray) -> None:
        while data := await reader.read(1 << 16):
            async with self.changed:
                log += data
                self.changed.notify_all()

    async def completed(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self.changed:
                await self.changed.wait_for(lambda: self.exit_status is not None)
        return self.exit_status is not None

    def shown(self) -> DevboxAsyncExecutionDetailView:
        if self.exit_status is None:
            return DevboxAsyncExecutionDetailView(devbox_id=self.box.id, execution_id=self.id, status="running")
        (stdout, cut_stdout), (stderr, cut_stderr) = _end(self.stdout), _end(self.stderr)
        return DevboxAsyncExecutionDetailView(
            devbox_id=self.box.id,
            execution_id=self.id,
            status="completed",
            exit_status=self.exit_status,
            stdout=stdout,
            stdout_truncated=cut_stdout,
            stderr=stderr,
            stderr_truncated=cut_stderr,
        )

    async def follow(self, start: int, faults: Faults, hold_s: float, offsets: str) -> AsyncIterator[bytes]:
        """Server-sent events of standard output from byte `start`. After `hold_s` the server lets go, with 408."""
        loop, dropped, over = asyncio.get_running_loop(), False, loop_time() + hold_s

        async def wake() -> None:
            async with self.changed:
                self.changed.notify_all()

        def drop() -> None:
            nonlocal dropped
            dropped = True
            asyncio.run_coroutine_threadsafe(wake(), loop)

        def ready() -> bool:
            return dropped or len(self.stdout) > start or self.exit_status is not None

        forget = faults.on_drop(drop)
        try:
            while True:
                async with self.changed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(over):
                            await self.changed.wait_for(ready)
                    data = bytes(self.stdout[start : start + PIECE_BYTES])
                if dropped:
                    raise Dropped("dropped by the test")
                if data:
                    yield _event(data, {"start": start, "end": start + len(data)}.get(offsets))
                    start += len(data)
                elif self.exit_status is not None:
                    return
                if loop_time() >= over:
                    yield b'event: error\ndata: {"code": 408, "message": "the stream was held long enough"}\n\n'
                    return
        finally:
            forget()


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def _event(data: bytes, offset: int | None) -> bytes:
    piece = ExecutionUpdateChunk(output=data.decode("utf-8", "replace"), offset=offset)
    return f"data: {json.dumps(piece.model_dump(exclude_none=True))}\n\n".encode()


def _end(log: bytearray) -> tuple[str, bool]:
    lines = bytes(log).splitlines(keepends=True)
    kept = b"".join(lines[-ANSWER_LINES:])[-ANSWER_BYTES:]
    return kept.decode("utf-8", "replace"), len(kept) < len(log)
