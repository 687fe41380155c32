"""One reader for each session that somebody watches from this process.

It hears the doorbell, reads what is new once, encodes it once and keeps the newest frames; subscribers take them from
here at their own pace, and read the database themselves when they are further behind. A bell that was lost is made up
for by looking every `POLL_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from django.db import DatabaseError

from runs.events.read import PAGE_EVENTS, last_seq, read_lines
from runs.stream.database import in_thread
from runs.stream.doorbell import group_of
from runs.stream.frames import Frame, frames_of

logger = logging.getLogger(__name__)

WINDOW_S = 0.05
"""Events that come within this time go out together: a burst costs a browser twenty frames a second, not thousands."""
POLL_S = 3.0
RETRY_S = 1.0
KEPT_BYTES = 2 * 1024 * 1024


class Hub:
    """`last` is the newest event in the frames; `changed` is set, and replaced, when there are newer ones."""

    def __init__(self, session_id: int, session_uuid: UUID) -> None:
        self.session_id = session_id
        self.session_uuid = session_uuid
        self.last = 0
        self.changed = asyncio.Event()
        self.members = 0
        self._frames: deque[Frame] = deque()
        self._kept_bytes = 0
        self._bell = asyncio.Event()
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin at the present end of the log; whoever joins meanwhile waits for that too."""
        async with self._starting:
            if not self._tasks:
                self.last = await in_thread(last_seq, self.session_id)
                self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._read())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def frames_after(self, seq: int) -> list[Frame]:
        """Frames that continue after `seq`, up to `last`; none when there is nothing newer.

        The shared ones where they continue exactly there, else a page from the database. Raises `DatabaseError`.
        """
        if seq >= self.last:
            return []
        shared = [frame for frame in self._frames if frame.last > seq]
        if shared and shared[0].first == seq + 1:
            return shared
        lines = await in_thread(read_lines, self.session_id, seq, upto=self.last)
        return frames_of(lines)

    async def _read(self) -> None:
        while True:
            await self._wait_for_bell()
            self._bell.clear()
            try:
                lines = await in_thread(read_lines, self.session_id, self.last)
            except DatabaseError as error:
                logger.warning("events not read, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
                self._bell.set()
                continue
            if lines:
                self._keep(frames_of(lines))
            if len(lines) == PAGE_EVENTS:
                self._bell.set()
            await asyncio.sleep(WINDOW_S)

    async def _wait_for_bell(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._bell.wait()
        except TimeoutError:
            return

    def _keep(self, frames: list[Frame]) -> None:
        self._frames.extend(frames)
        self._kept_bytes += sum(frame.size_bytes for frame in frames)
        while self._kept_bytes > KEPT_BYTES and len(self._frames) > 1:
            self._kept_bytes -= self._frames.popleft().size_bytes
        self.last = frames[-1].last
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001  # whatever the broker's client raises: polling goes on
                logger.warning("doorbell not heard, listening again: %r", error)
                await asyncio.sleep(RETRY_S)

    async def _hear(self) -> None:
        layer = get_channel_layer()
        assert layer is not None
        group, channel = group_of(self.session_uuid), await layer.new_channel()
        await layer.group_add(group, channel)
        try:
            # What was committed between the start and the subscription had its bell before we listened.
            self._bell.set()
            while True:
                message = await layer.receive(channel)
                if message.get("seq", self.last + 1) > self.last:
                    self._bell.set()
        finally:
            await layer.group_discard(group, channel)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, Hub]] = WeakKeyDictionary()


@asynccontextmanager
async def watching(session_id: int, session_uuid: UUID) -> AsyncIterator[Hub]:
    """The process's hub of the session: started by its first member, stopped after its last. Raises `DatabaseError`."""
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    hub = hubs.setdefault(session_uuid, Hub(session_id, session_uuid))
    hub.members += 1
    try:
        await hub.start()
        yield hub
    finally:
        hub.members -= 1
        if hub.members == 0:
            hubs.pop(session_uuid, None)
            await hub.stop()
