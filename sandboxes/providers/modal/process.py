"""Processes in a sandbox, with their bytes, over the vendor's own `exec`.

Output is numbered by its bytes at the vendor: its client reads on where a stream broke, by itself, and a write to standard
input carries its offset, so that it is taken once. What is left for us are the end of the process and our deadlines.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from sandboxes.contract import ExecResult
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.providers.modal.description import NAME
from sandboxes.providers.modal.errors import FAILURES, translate, translated

PIECE_BYTES = 1024 * 1024
"""Of one write; the vendor's client refuses to hold more than 16 MiB."""
SEND_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 10.0
ENDED_S = 2.0
"""How soon a process that took no input has ended, if it has."""


async def send(process: Any, data: bytes) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        process.stdin.write(data[start : start + PIECE_BYTES])
        await process.stdin.drain.aio()


async def end_input(process: Any) -> None:
    process.stdin.write_eof()
    await process.stdin.drain.aio()


async def chunks_of(reader: Any) -> AsyncIterator[bytes]:
    async for chunk in reader:
        yield bytes(chunk)


class ProcessStream:
    """Standard input and output of one process."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._sending = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        async with self._sending:  # the offset of a write is known when the one before it has arrived
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send(self._process, data)
            except (*FAILURES, ValueError) as error:
                raise StreamLost(f"the process takes no input: {translate(error)}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks_of(self._process.stdout):
                yield chunk
        except FAILURES as error:
            raise StreamLost(f"the stream broke: {translate(error)}", provider=NAME) from error

    async def close(self) -> None:
        """The end of its input ends the line's process; the vendor has no call that ends one."""
        with contextlib.suppress(*FAILURES, SandboxError, ValueError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await end_input(self._process)
                await self._process.stdout.aclose()


async def read_to(reader: Any, take: Callable[[bytes], None]) -> None:
    async for chunk in chunks_of(reader):
        take(chunk)


class Kept:
    """The beginning of an output, and whether there was more."""

    def __init__(self, max_bytes: int) -> None:
        self.data = bytearray()
        self.cut = False
        self._max_bytes = max_bytes

    def take(self, chunk: bytes) -> None:
        room = self._max_bytes - len(self.data)
        self.data += chunk[:room]
        self.cut = self.cut or len(chunk) > room


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A group of tasks wraps what one of them raised."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def finish(process: Any, max_output_bytes: int, take: Callable[[bytes], None] | None = None) -> ExecResult:
    """Wait for the end, reading both outputs; `take`: where the bytes of `stdout` go instead of into the result."""
    out, err = Kept(max_output_bytes), Kept(max_output_bytes)
    with translated(), alone():
        async with asyncio.TaskGroup() as group:
            group.create_task(read_to(process.stdout, take or out.take))
            group.create_task(read_to(process.stderr, err.take))
            ended = group.create_task(process.wait.aio())
    return ExecResult(int(ended.result()), bytes(out.data), bytes(err.data), out.cut or err.cut)


async def carry_through(
    process: Any,
    feed: Callable[[Any], Awaitable[None]] | None,
    max_output_bytes: int,
    take: Callable[[bytes], None] | None = None,
) -> ExecResult:
    """Give a process its input, if it has any, and wait for its end. One that ended without reading says why itself; one
    that would wait for the rest of its input for ever is left to the caller to kill, with what broke."""
    try:
        if feed is not None:
            await feed(process)
    except FAILURES as error:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_S):
                done = await finish(process, max_output_bytes, take)
                if done.exit_code != 0:
                    return done
        raise translate(error) from error
    return await finish(process, max_output_bytes, take)
