"""A websocket of a session inside the test: the real application, cookie, channel layer and database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from rlmweb.asgi import application
from runs.models import Session
from runs.stream.database import in_thread

PATIENCE_S = 10.0


class Closed(Exception):
    """The server closed the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """What a browser does, one message at a time."""

    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self.communicator = communicator
        self.last = 0

    async def say(self, **message: Any) -> None:
        await self.communicator.send_to(text_data=json.dumps(message))

    async def hear(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next message. Raises `Closed`."""
        output = await self.communicator.receive_output(timeout_s)
        if output["type"] == "websocket.close":
            raise Closed(output.get("code", 1000), output.get("reason", ""))
        message: dict[str, Any] = json.loads(output["text"])
        return message

    async def hear_until(self, kind: str) -> list[dict[str, Any]]:
        """The events of all messages up to the first of this kind, each frame acknowledged."""
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while (message := await self.hear())["type"] != kind:
                events += await self._taken(message)
            return events + await self._taken(message)

    async def hear_events(self, upto: int) -> list[dict[str, Any]]:
        """Events up to `seq` `upto`, acknowledged."""
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while self.last < upto:
                events += await self._taken(await self.hear())
        return events

    async def _taken(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        if message["type"] != "events":
            return []
        self.last = message["last"]
        await self.say(type="ack", seq=self.last)
        found: list[dict[str, Any]] = message["events"]
        return found


@asynccontextmanager
async def open_socket(
    session: Session | str, user: Any = None, *, path: str = "", **headers: str
) -> AsyncIterator[Socket]:
    """A connected socket with the cookie of `user`, of the session or at another `path`."""
    uuid = session if isinstance(session, str) else session.uuid
    given = {"origin": "http://localhost", "host": "localhost", **headers}
    if user is not None:
        given["cookie"] = f"{settings.SESSION_COOKIE_NAME}={await in_thread(cookie_of, user)}"
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    communicator = WebsocketCommunicator(application, path or f"/ws/sessions/{uuid}/", headers=encoded)
    connected, code = await communicator.connect(PATIENCE_S)
    if not connected:
        raise Closed(int(code or 0), "not accepted")
    try:
        yield Socket(communicator)
    finally:
        await communicator.disconnect()


def cookie_of(user: Any) -> str:
    """The session cookie of a signed-in user."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
