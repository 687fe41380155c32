"""Standard input and output of an execution.

Output is the execution's log, which a request follows from an offset. The client opens it anew by itself when the server
lets go of it (408), and takes the offset of the last piece for that: the piece that it had comes once more. So here its
plain stream is used, and what is asked for is the count of bytes that arrived.

Input goes by requests, one after the other: those at the same time may overtake each other, and one that is tried again
may arrive twice, for which the line's bytes are numbered.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import httpx
from runloop_api_client import APIStatusError, APITimeoutError

from sandboxes.errors import SandboxError, StreamLost
from sandboxes.providers.runloop.client import CONNECT_TIMEOUT_S, Client
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.errors import FAILURES, translate, translated

SILENCE_S = 90.0
"""Without a byte for so long, the request is made anew: whether the server's end is there cannot be seen otherwise."""
KILL_TIMEOUT_S = 10.0


class Position:
    """Where in the log we are. A piece's offset is documented as that of the piece; should a server mean its end, the
    first piece says so."""

    def __init__(self) -> None:
        self.received = 0
        self._kind = ""

    @property
    def resumable(self) -> bool:
        """Nothing came yet, or pieces say where they stand."""
        return not self.received or self._kind in ("start", "end")

    def new(self, data: bytes, offset: int | None) -> bytes:
        """The part of a piece that is new. Raises `StreamLost` when something is missing before it."""
        if not data:
            return data
        if not self._kind:
            self._kind = "start" if offset == 0 else "end" if offset == len(data) else "unknown"
        if self._kind != "unknown":
            if offset is None:
                raise StreamLost("a piece of the log says no offset", provider=NAME)
            start = offset if self._kind == "start" else offset - len(data)
            if start > self.received:
                raise StreamLost(f"{start - self.received} bytes of the log are missing", provider=NAME)
            data = data[self.received - start :]
        self.received += len(data)
        return data


async def follow(client: Client, devbox_id: str, execution_id: str) -> AsyncIterator[bytes]:
    """The execution's standard output from its beginning until it ends. Raises `StreamLost` and the client's errors."""
    position = Position()
    raw = client.once.devboxes.executions.with_raw_response
    while True:
        try:
            response = await raw.stream_stdout_updates(
                execution_id,
                devbox_id=devbox_id,
                offset=str(position.received),
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S),
            )
            pieces = await response.parse()
            try:
                async for piece in pieces:
                    data = position.new(piece.output.encode(), piece.offset)
                    if data:
                        yield data
                return
            finally:
                await pieces.close()
        except (APITimeoutError, httpx.ReadTimeout) as error:
            if not position.resumable:
                raise StreamLost("the log broke off and does not say where", provider=NAME) from error
        except APIStatusError as error:
            if error.status_code != 408:
                raise
            if not position.resumable:
                raise StreamLost("the log broke off and does not say where", provider=NAME) from error


class ExecutionStream:
    def __init__(self, client: Client, devbox_id: str, execution_id: str) -> None:
        self._client = client
        self._devbox_id = devbox_id
        self._execution_id = execution_id
        self._sending = asyncio.Lock()

    @classmethod
    async def open(cls, client: Client, devbox_id: str, argv: Sequence[str]) -> ExecutionStream:
        """Raises `SandboxError`s only."""
        with translated():
            started = await client.api.devboxes.execute_async(
                devbox_id, command=shlex.join(argv), attach_stdin=True, idempotency_key=uuid4().hex
            )
            return cls(client, devbox_id, started.execution_id)

    async def send(self, data: bytes) -> None:
        """`data` is ASCII. Raises `StreamLost`."""
        async with self._sending:
            try:
                sent = await self._client.api.devboxes.executions.send_std_in(
                    self._execution_id,
                    devbox_id=self._devbox_id,
                    text=data.decode("ascii"),
                    idempotency_key=uuid4().hex,
                )
                taken = sent.success
            except FAILURES as error:
                raise StreamLost(f"the command takes no input: {translate(error)}", provider=NAME) from error
        if not taken:
            raise StreamLost("the command takes no input", provider=NAME)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in follow(self._client, self._devbox_id, self._execution_id):
                yield data
        except FAILURES as error:
            raise StreamLost(f"the command's log broke off: {translate(error)}", provider=NAME) from error

    async def close(self) -> None:
        """The process ends, too."""
        await kill(self._client, self._devbox_id, self._execution_id)


async def kill(client: Client, devbox_id: str, execution_id: str) -> None:
    """With its process group, for what the vendor knows is the shell around the command. Never fails."""
    with contextlib.suppress(SandboxError, *FAILURES):  # it has ended, or will with its devbox
        await client.once.devboxes.executions.kill(
            execution_id, devbox_id=devbox_id, kill_process_group=True, timeout=KILL_TIMEOUT_S
        )
