"""`SideLink`: a line to a runner beside that of its host, to evaluate code in its parked copies."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec

from sandboxes import aio
from sandboxes.contract import MAX_LINE_BYTES, Channel, Sandbox
from sandboxes.errors import InvalidSpec, ProtocolViolation, SandboxError, StreamLost
from sandboxes.frames import Evaluate, Evaluated, Payload

ANSWER_S = 15.0
"""How long an answer may take beyond the time-out of the code: the copy is forked first, others may be in front."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Evaluated)


class SideLink:
    """Evaluations in one sandbox, from any thread and several at once. It disturbs neither the host nor a running cell."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._opening: asyncio.Lock | None = None
        self._waiting: dict[str, asyncio.Future[Evaluated]] = {}

    def evaluate(
        self, snapshot: str, code: str, timeout_s: float = 5.0, max_output_bytes: int = 256 * 1024
    ) -> Evaluated:
        """Run `code` in a throw-away fork of the live snapshot; its status says whether that was possible.

        Raises `Unsupported` where the provider has no side channels, `StreamLost` when the runner does not answer,
        `NotFound` when the sandbox is gone, `InvalidSpec` for code that does not fit in a line.
        """
        frame = Evaluate(uuid4().hex, snapshot, Payload(text=code), timeout_s, max_output_bytes)
        line = _encoder.encode(frame)
        if len(line) > MAX_LINE_BYTES - 100:
            raise InvalidSpec(f"the code of an evaluation fits in a line of {MAX_LINE_BYTES} bytes")
        wait_s = timeout_s + ANSWER_S
        return aio.run(self._ask(frame.id, line, wait_s), timeout_s=wait_s + 5)

    def close(self) -> None:
        aio.run(self._close(), timeout_s=10)

    # On the loop ------------------------------------------------------------------------------------------------

    async def _ask(self, id: str, line: bytes, wait_s: float) -> Evaluated:
        channel = await self._open()
        future = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            await channel.send_line(line)
            return await asyncio.wait_for(future, wait_s)
        except TimeoutError as error:
            raise StreamLost("the runner does not answer an evaluation") from error
        finally:
            self._waiting.pop(id, None)

    async def _open(self) -> Channel:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._channel is None:
                self._channel = await self._sandbox.open_side()
                self._reading = asyncio.ensure_future(self._read(self._channel))
            return self._channel

    async def _read(self, channel: Channel) -> None:
        why: SandboxError = StreamLost("the side channel was closed")
        try:
            async for line in channel.lines():
                self._receive(line)
        except SandboxError as error:
            why = error
        self._channel = None  # the next evaluation opens another one
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(why)
        await channel.close()

    def _receive(self, line: bytes) -> None:
        try:
            answer = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"the runner answered an evaluation with something else: {error}") from error
        future = self._waiting.get(answer.id)
        if future and not future.done():
            future.set_result(answer)

    async def _close(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._channel:
            await self._channel.close()
            self._channel = None
