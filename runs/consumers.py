"""The websocket of a session: `/ws/sessions/<uuid>/`. What is said on it stands in `runs.stream.frames`.

The socket is accepted before access is checked, because a browser hides the reason of one that was refused. Close codes:

| code | meaning | what the client does |
| --- | --- | --- |
| 4400 | a message that the protocol does not have, or one at the wrong time | a bug: show the reason |
| 4401 | the web session is over: idle for too long, open for too long, or signed out | show the reason |
| 4404 | no such session, or not for this user (any more) | stop |
| 4408 | no `resume` within `RESUME_TIMEOUT_S` | connect again |
| 4409 | `after` is beyond the end of the log: not the log that the client has seen | load everything again |
| 4503 | the record cannot be read now | connect again, later each time |
| 1011 | rlmweb failed; the reason is in its log | connect again, later each time |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError
from django.http import Http404, HttpRequest

from rlmweb.teams.policies.enforcing import PolicyRefused, require
from rlmweb.teams.policies.facts import Act
from rlmweb.teams.policies.idling import ended, limits_of, note_time_out
from runs.access import User, session_for
from runs.events.read import last_seq
from runs.services.policy_facts import person_facts
from runs.stream.database import in_thread
from runs.stream.frames import Ack, BadMessage, Resume, parse_message
from runs.stream.hub import watching
from runs.stream.subscriber import Subscriber

logger = logging.getLogger(__name__)

RESUME_TIMEOUT_S = 15.0
MAX_REASON_CHARS = 120


class Refused(Exception):
    """The connection ends with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class SessionConsumer(AsyncWebsocketConsumer):
    # The hub listens for all sockets of a session; this one needs no channel of its own.
    channel_layer_alias = "no channel layer"
    recheck_s: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._resumed: asyncio.Future[int] | None = None
        self._was_signed_in = False
        self._subscriber: Subscriber | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        self._resumed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            self._take(parse_message(text_data))
        except BadMessage as error:
            await self._end()
            await self._close(Refused(4400, str(error)))

    async def disconnect(self, code: int) -> None:
        await self._end()

    def _take(self, message: Resume | Ack) -> None:
        assert self._resumed is not None
        match message:
            case Resume():
                if self._resumed.done():
                    raise BadMessage("resume was sent before")
                self._resumed.set_result(message.after)
            case Ack():
                if self._subscriber is None:
                    raise BadMessage("there is nothing to acknowledge yet")
                self._subscriber.acknowledge(message.seq)

    async def _serve(self) -> None:
        try:
            await self._stream()
        except Refused as refused:
            await self._close(refused)
        except DatabaseError as error:
            logger.warning("a websocket lost the record: %s", error)
            await self._close(Refused(4503, "the record cannot be read now"))
        except Exception:
            logger.exception("a websocket failed")
            await self._close(Refused(1011, "rlmweb failed"))

    async def _stream(self) -> None:
        session_id, uuid = await in_thread(self._viewed)
        after = await self._wait_for_resume()
        if after > await in_thread(last_seq, session_id):
            raise Refused(4409, f"the log ends before {after}")
        async with watching(session_id, uuid) as hub:
            self._subscriber = Subscriber(hub, after, self._deliver, self._check, recheck_s=self.recheck_s)
            await self._subscriber.run()

    async def _deliver(self, text: str) -> None:
        """A message as this socket shows it."""
        await self.send(text)

    async def _wait_for_resume(self) -> int:
        assert self._resumed is not None
        try:
            async with asyncio.timeout(RESUME_TIMEOUT_S):
                return await self._resumed
        except TimeoutError:
            raise Refused(4408, "resume was not sent in time") from None

    async def _check(self) -> None:
        await in_thread(self._viewed)

    def _viewed(self) -> tuple[int, UUID]:
        """The session's id and uuid, as the database and the login stand now. Raises `Refused`."""
        user = self._person()
        try:
            session = session_for(user, self.scope["url_route"]["kwargs"]["uuid"])
            require(Act.LOOK, person_facts(session, user, "websocket"))
        except Http404:
            if self._was_signed_in and not user.is_authenticated:
                raise Refused(4401, "Your sign-in has ended. Sign in again.") from None
            raise Refused(4404, "no such session for you") from None
        except PolicyRefused as error:
            raise Refused(4401, error.decision.reason) from None
        self._was_signed_in = True
        return session.pk, session.uuid

    def _person(self) -> User:
        """Who the socket's cookie belongs to now. Raises `Refused` when the web session has run out.

        Nothing that a socket does is an act: who only watches is idle.
        """
        store = _web_session(self.scope)
        user = get_user(cast(HttpRequest, SimpleNamespace(session=store)))
        why = ended(store, limits_of(user)) if user.is_authenticated else ""
        if why:
            note_time_out(user, why, "websocket")
            raise Refused(4401, why)
        return user

    async def _close(self, refused: Refused) -> None:
        await self.close(refused.code, refused.reason[:MAX_REASON_CHARS])

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


def _web_session(scope: Mapping[str, Any]) -> SessionBase:
    """That of the socket's cookie, read anew: a login that ended since, or a changed password, counts."""
    key = scope["session"].session_key if "session" in scope else None
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return store
