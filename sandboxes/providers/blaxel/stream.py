"""Standard input and output of one process in a sandbox: requests that write, and one long answer to read."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx2

from sandboxes.errors import SandboxError, StreamLost
from sandboxes.providers.blaxel.errors import NAME
from sandboxes.providers.blaxel.output import RECORDS, stdout_of

if TYPE_CHECKING:
    from sandboxes.providers.blaxel.api import SandboxApi

QUIET_S = 90.0
"""Signs of life come every few seconds; without any for so long the stream is taken for broken, and found again."""
WRITE_S = 30.0
CLOSE_S = 10.0


class ProcessStream:
    """`pipe`: where input is written when the API of the image has none to write to: a named pipe in the sandbox."""

    def __init__(self, api: SandboxApi, name: str, pipe: str) -> None:
        self._api = api
        self._name = name
        self.pipe = pipe
        self._writing = asyncio.Lock()
        self._reading = AsyncExitStack()
        self._response: httpx2.Response | None = None

    async def open(self) -> None:
        """Begin to read. Raises `SandboxError`."""
        self._response = await self._reading.enter_async_context(
            self._api.opened(
                "GET",
                f"/process/{self._name}/logs/stream",
                headers={"Accept": f"{RECORDS}, text/plain;q=0.5"},
                timeout_s=QUIET_S,
            )
        )

    async def send(self, data: bytes) -> None:
        """Once and in order. A write that nobody knows the fate of ends the stream: a second copy would spoil it."""
        try:
            async with self._writing:
                if self.pipe:
                    await self._write_pipe(data)
                else:
                    await self._api.once(
                        "POST",
                        f"/process/{self._name}/stdin",
                        content=data,
                        headers={"Content-Type": "application/octet-stream"},
                        timeout_s=WRITE_S,
                    )
        except SandboxError as error:
            await self._stop_reading()  # whoever reads has to learn of it: only that side opens the stream anew
            raise StreamLost(f"nothing can be written to the process any more: {error}", provider=NAME) from error

    async def _write_pipe(self, data: bytes) -> None:
        """`data` is a line of ASCII that fits in a word (see `FramedStream`)."""
        line = f"printf %s {shlex.quote(data.decode('ascii'))} > {self.pipe}"
        done = await self._api.start(f"rlm-in-{uuid4().hex}", line, timeout_s=WRITE_S, wait=True)
        if done.get("exitCode") != 0:
            raise StreamLost(f"writing to the pipe ended with {done.get('exitCode')}", provider=NAME)

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self._response is not None
        try:
            async for chunk in stdout_of(self._response):
                yield chunk
        except httpx2.HTTPError as error:
            raise StreamLost(f"the stream broke: {type(error).__name__}", provider=NAME) from error
        except httpx2.StreamError as error:  # closed by ourselves
            raise StreamLost(f"the stream is closed: {type(error).__name__}", provider=NAME) from error

    async def close(self) -> None:
        await self._stop_reading()
        with contextlib.suppress(SandboxError):
            await self._api.kill(self._name, timeout_s=CLOSE_S)
        if self.pipe:
            with contextlib.suppress(SandboxError):
                await self._api.start(f"rlm-rm-{uuid4().hex}", f"rm -f {self.pipe}", timeout_s=CLOSE_S, wait=False)

    async def _stop_reading(self) -> None:
        with contextlib.suppress(httpx2.HTTPError, httpx2.StreamError, SandboxError):
            await self._reading.aclose()
