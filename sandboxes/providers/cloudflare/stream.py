"""A terminal as a byte stream: the bridge has no pipe to a process, but a WebSocket to a shell in a terminal.

`stty raw -echo` makes it carry bytes: before that a terminal cuts lines at 4096 bytes, repeats input and rewrites ends of
lines. What it shows up to our mark (prompt, echo) is dropped.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sandboxes.errors import SandboxError, StreamLost
from sandboxes.providers.cloudflare.client import WorkerClient
from sandboxes.providers.cloudflare.errors import NAME

CLOSE_S = 10.0


class TerminalStream:
    """Has a session of its own: each has one terminal, which a second connection would share."""

    def __init__(
        self, client: WorkerClient, path: str, session: str, connection: ClientConnection, mark: bytes
    ) -> None:
        self._client = client
        self._path = path
        self._session = session
        self._connection = connection
        self._mark = mark

    @classmethod
    async def open(cls, client: WorkerClient, path: str, setting: str, argv: Sequence[str]) -> TerminalStream:
        """`path`: of the sandbox. `setting`: a line of shell that comes before the command."""
        made = await client.call_mapping(
            "POST", f"{path}/session", json={"id": f"rlm-{uuid4().hex}", "cwd": "/workspace"}
        )
        session, nonce = str(made.get("id")), uuid4().hex
        query = f"cols=80&rows=24&shell=bash&session={quote(session, safe='')}"
        try:
            connection = await client.connect(f"{path}/pty?{query}")
        except SandboxError:
            await _end_session(client, path, session)
            raise
        stream = cls(client, path, session, connection, f"rlm{nonce}\n".encode())
        line = f"stty raw -echo; printf '%s%s\\n' rlm {nonce}; {setting}; exec {shlex.join(argv)} 2>/dev/null\n"
        try:
            await stream.send(line.encode())
        except StreamLost:
            await stream.close()
            raise
        return stream

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise StreamLost(f"the terminal broke: {error}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        before = bytearray()
        begun = False
        while True:
            try:
                message = await self._connection.recv()
            except ConnectionClosed as error:
                raise StreamLost(f"the terminal broke: {error}", provider=NAME) from error
            if isinstance(message, str):
                if self._ended(message):
                    return
            elif begun:
                yield message
            else:
                before += message
                _, mark, rest = bytes(before).partition(self._mark)
                begun = bool(mark)
                if rest:
                    yield rest

    @staticmethod
    def _ended(message: str) -> bool:
        """Text frames are about the terminal: `ready`, `exit` with a code, `error`."""
        try:
            said = json.loads(message)
            kind = said.get("type")
        except (ValueError, AttributeError) as error:
            raise StreamLost(f"the terminal says {message[:80]!r}", provider=NAME) from error
        if kind == "error":
            raise StreamLost(f"the terminal failed: {said.get('message')}", provider=NAME)
        return bool(kind == "exit")

    async def close(self) -> None:
        """A terminal outlives its connection: the session is ended, and with it what runs there."""
        await self._connection.close()
        await _end_session(self._client, self._path, self._session)


async def _end_session(client: WorkerClient, path: str, session: str) -> None:
    """The hub takes the line of whoever comes next, so one that is left behind does no harm."""
    with contextlib.suppress(SandboxError):
        await client.call("DELETE", f"{path}/session/{quote(session, safe='')}", timeout_s=CLOSE_S)
