"""One request at a time, and every session gets its turn: a session with a thousand leaf calls must not keep others out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairLock:
    """A lock whose waiters stand in one queue per group; the groups take turns, each queue is first come first served."""

    def __init__(self) -> None:
        self._held = False
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, group: str) -> AsyncIterator[None]:
        await self._acquire(group)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, group: str) -> None:
        if not self._held:
            self._held = True
            return
        ticket = asyncio.get_running_loop().create_future()
        self._queues.setdefault(group, deque()).append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                # Called up and cancelled in the same moment: the turn goes to the next one.
                self._release()
            raise

    def _release(self) -> None:
        while self._queues:
            group, queue = self._queues.popitem(last=False)
            ticket = queue.popleft()
            if queue:
                self._queues[group] = queue
            if not ticket.done():
                ticket.set_result(None)
                return
        self._held = False
