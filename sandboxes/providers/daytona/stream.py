"""Standard input and output of a command in a toolbox session.

Input goes by POST; output is the command's log, which a WebSocket follows **from its beginning**. A log that was lost is
therefore never followed again: it would bring everything once more, and it grows with the session. The next stream is a
new command with a log of its own, and what the old one still held comes again through the runner's protocol.

Source: the client 0.226.1, and the daemon 0.190.0 for what it does with input and logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from daytona import SessionExecuteRequest

from sandboxes.errors import SandboxError, StreamLost
from sandboxes.providers.daytona.description import NAME
from sandboxes.providers.daytona.errors import FAILURES, translate, translated

if TYPE_CHECKING:
    from daytona._async.process import AsyncProcess  # the class has no public name

OPEN_TIMEOUT_S = 30.0
SEND_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 10.0
MAX_CHUNKS_AHEAD = 64


class SessionStream:
    def __init__(self, process: AsyncProcess, session: str, command: str) -> None:
        self._process = process
        self._session = session
        self._command = command
        self._sending = asyncio.Lock()
        self._chunks: asyncio.Queue[bytes | StreamLost | None] = asyncio.Queue(MAX_CHUNKS_AHEAD)
        self._following = asyncio.create_task(self._follow())

    @classmethod
    async def open(cls, process: AsyncProcess, argv: Sequence[str]) -> SessionStream:
        """Start `argv` in a session of its own. Raises `SandboxError`s only."""
        session = f"rlm-{uuid4().hex}"
        # Input is not echoed, or the log would hold it, too. No `exec`: it would replace the session's shell.
        request = SessionExecuteRequest(command=shlex.join(argv), run_async=True, suppress_input_echo=True)
        with translated():
            await process.create_session(session, request_timeout=OPEN_TIMEOUT_S)
            try:
                started = await process.execute_session_command(session, request, timeout=int(OPEN_TIMEOUT_S))
            except FAILURES:
                await _delete(process, session)
                raise
        return cls(process, session, started.cmd_id)

    async def send(self, data: bytes) -> None:
        """`data` is ASCII and ends with a newline, which the daemon would add. Raises `StreamLost`."""
        async with self._sending:  # two requests at once may overtake each other
            try:
                await self._process.send_session_command_input(
                    self._session, self._command, data.decode("ascii"), request_timeout=SEND_TIMEOUT_S
                )
            except FAILURES as error:
                raise StreamLost(f"the session takes no input: {translate(error)}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, StreamLost):
                raise chunk
            yield chunk

    async def _follow(self) -> None:
        async def keep(text: str) -> None:
            if text:
                await self._chunks.put(text.encode())

        def drop(text: str) -> None:
            """Standard error of `attach`: what it has to say is in its exit."""

        end: StreamLost | None = None
        try:
            await self._process.get_session_command_logs_async(self._session, self._command, keep, drop)
        except FAILURES as error:
            end = StreamLost(f"the session's log broke off: {translate(error)}", provider=NAME)
        await self._chunks.put(end)

    async def close(self) -> None:
        """The session ends with its command, its shell and its log."""
        self._following.cancel()
        await asyncio.wait([self._following])
        await _delete(self._process, self._session)


async def _delete(process: AsyncProcess, session: str) -> None:
    with contextlib.suppress(SandboxError, *FAILURES):  # it went with its sandbox, or will
        await process.delete_session(session, request_timeout=CLOSE_TIMEOUT_S)
