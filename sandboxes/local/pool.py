"""Sandboxes that wait, started and ready, so that a session does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sandboxes.errors import SandboxError
from sandboxes.local.box import Box
from sandboxes.local.spec import BoxSpec

log = logging.getLogger("rlmweb.sandbox")
RETRY_S = 5.0


class Pool:
    """Keeps `size` waiting sandboxes of one spec, refilled one at a time in the background."""

    def __init__(self, size: int, spec: BoxSpec, start: Callable[[BoxSpec], Awaitable[Box]]) -> None:
        self.size = size
        self.spec = spec
        self._start = start
        self._waiting: list[Box] = []
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self.size:
            self._wanted.set()
            self._task = asyncio.create_task(self._refill())

    def take(self, spec: BoxSpec) -> Box | None:
        """A waiting sandbox that serves `spec`, or None."""
        if not spec.fits_pool(self.spec):
            return None
        while self._waiting:
            box = self._waiting.pop(0)
            self._wanted.set()
            if box.is_running():
                box.adopt(spec)
                return box
        return None

    def holds(self, box: Box) -> bool:
        return box in self._waiting

    @property
    def ready(self) -> int:
        return len(self._waiting)

    def removed(self, box: Box) -> None:
        if box in self._waiting:
            self._waiting.remove(box)
            self._wanted.set()

    async def _refill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while len(self._waiting) < self.size:
                try:
                    self._waiting.append(await self._start(self.spec))
                except SandboxError as error:
                    log.warning("the pool cannot start a sandbox: %s", error)
                    await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
