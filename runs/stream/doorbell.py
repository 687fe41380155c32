"""The doorbell: tells every web process that a session has new events. It carries no event and may be lost.

`ring` is called by worker threads after each commit, so it does nothing but leave a note: the process's background loop
sends the newest note of each session, and rings that come while a message is on its way become one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from uuid import UUID

from channels.layers import BaseChannelLayer, get_channel_layer

from sandboxes import aio

logger = logging.getLogger(__name__)

SEND_TIMEOUT_S = 5.0
QUIET_S = 30.0
"""A broker that is away is mentioned once in this time, not at every commit."""


def group_of(session_uuid: UUID | str) -> str:
    """The group whose members hear of this session."""
    return f"session.{session_uuid}"


def ring(session_uuid: UUID, last_seq: int) -> None:
    """Say that the session's events up to `last_seq` are committed. Never blocks and never raises."""
    _bell.ring(session_uuid, last_seq)


def _layer() -> BaseChannelLayer:
    layer = get_channel_layer()
    if layer is None:
        raise RuntimeError("CHANNEL_LAYERS has no default layer")
    return layer


class _Bell:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[UUID, int] = {}
        self._sending: asyncio.AbstractEventLoop | None = None
        self._complained_at = -QUIET_S

    def ring(self, session_uuid: UUID, last_seq: int) -> None:
        loop = aio.background_loop()
        with self._lock:
            self._waiting[session_uuid] = max(last_seq, self._waiting.get(session_uuid, 0))
            # A forked child inherits this object but not the loop that was sending.
            start = self._sending is not loop
            self._sending = loop
        if start:
            aio.submit(self._send_all())

    async def _send_all(self) -> None:
        while (notes := self._take()) is not None:
            for session_uuid, last_seq in notes.items():
                await self._send(session_uuid, last_seq)

    def _take(self) -> dict[UUID, int] | None:
        with self._lock:
            if not self._waiting:
                self._sending = None
                return None
            notes, self._waiting = self._waiting, {}
            return notes

    async def _send(self, session_uuid: UUID, last_seq: int) -> None:
        message = {"type": "ring", "session": str(session_uuid), "seq": last_seq}
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await _layer().group_send(group_of(session_uuid), message)
        except Exception as error:  # noqa: BLE001  # whatever the broker's client raises, the hubs look by themselves
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at > QUIET_S:
            self._complained_at = time.monotonic()
            logger.warning("doorbell not sent, browsers hear of new events seconds later: %r", error)


_bell = _Bell()
