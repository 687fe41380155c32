"""One client of a hub: sent the log from where it was, at the pace at which it acknowledges.

The server in front of us has no back pressure, so what a client has not acknowledged is what it costs in memory. Over
`WINDOW_BYTES` nothing more is sent; when it acknowledges again it goes on from the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from runs.stream.frames import BadMessage, Frame, caught_up, heartbeat
from runs.stream.hub import Hub

WINDOW_BYTES = 1024 * 1024
HEARTBEAT_S = 10.0
RECHECK_S = 2.0
"""How long after access was withdrawn events may still be sent."""

Send = Callable[[str], Awaitable[None]]
Check = Callable[[], Awaitable[None]]


class Subscriber:
    """`check` raises when the client may not see the session any more.

    `recheck_s`: ask that often even while nothing happens; without, it is asked with every heartbeat, and before events.
    """

    def __init__(self, hub: Hub, after: int, send: Send, check: Check, *, recheck_s: float | None = None) -> None:
        self.sent = after
        self._hub = hub
        self._send = send
        self._check = check
        self._recheck_s = recheck_s
        self._spoke_at = time.monotonic()
        self._checked_at = time.monotonic()
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._unacknowledged_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def behind(self) -> bool:
        """Does the client have to acknowledge before it is sent more?"""
        return not self._room.is_set()

    def acknowledge(self, seq: int) -> None:
        """Raises `BadMessage` for what was never sent."""
        if seq > self.sent:
            raise BadMessage(f"{seq} was not sent yet")
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged_bytes -= self._unacknowledged.popleft()[1]
        if self._unacknowledged_bytes < WINDOW_BYTES:
            self._room.set()

    async def run(self) -> None:
        """Send until cancelled. Raises what `check` raises, and `DatabaseError`."""
        told = False
        while True:
            changed = self._hub.changed
            frames = await self._hub.frames_after(self.sent)
            for frame in frames:
                await self._deliver(frame)
            if frames:
                continue
            if not told:
                told = True
                await self._send(caught_up(self.sent))
            await self._wait(changed)

    async def _deliver(self, frame: Frame) -> None:
        while self.behind:
            await self._wait(self._room)
        if time.monotonic() - self._checked_at > (RECHECK_S if self._recheck_s is None else self._recheck_s):
            await self._recheck()
        self.sent = frame.last
        self._unacknowledged.append((frame.last, frame.size_bytes))
        self._unacknowledged_bytes += frame.size_bytes
        if self._unacknowledged_bytes >= WINDOW_BYTES:
            self._room.clear()
        await self._send(frame.text)

    async def _wait(self, event: asyncio.Event) -> None:
        """Until `event`; a heartbeat goes out meanwhile, so that the client can tell quiet from gone."""
        pause_s = HEARTBEAT_S if self._recheck_s is None else min(HEARTBEAT_S, self._recheck_s)
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await event.wait()
                    return
            except TimeoutError:
                await self._recheck()
                if pause_s == HEARTBEAT_S or time.monotonic() - self._spoke_at >= HEARTBEAT_S:
                    self._spoke_at = time.monotonic()
                    await self._send(heartbeat(self._hub.last))

    async def _recheck(self) -> None:
        await self._check()
        self._checked_at = time.monotonic()
