"""The keeper of all sandboxes: creates, finds, watches and ends them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandboxes.errors import InvalidSpec, NotFound, ProviderUnavailable, SandboxError
from sandboxes.local.box import Box
from sandboxes.local.cgroups import Groups
from sandboxes.local.gpus import Gpus, found
from sandboxes.local.pool import Pool
from sandboxes.local.spec import BoxSpec
from sandboxes.local.tiers import Tier, make_folder

REMEMBERED_ENDS = 1000
WITH_DEVICES = "bubblewrap"
"""The tier that can show a sandbox some devices and hide the others."""


class Keeper:
    def __init__(self, tiers: dict[str, Tier], default: str, folder: Path, groups: Groups, pool_size: int) -> None:
        """`tiers` are those that passed the self-test; `default` names the strongest of them."""
        self.tiers = tiers
        self.default = default
        self.boxes: dict[str, Box] = {}
        self.pool = Pool(pool_size, BoxSpec(tier=default), self._start)
        self.groups = groups
        self._folder = make_folder(folder / "boxes")
        self.gpus = Gpus(found())
        self._by_key: dict[str, asyncio.Future[Box]] = {}
        self._ends: dict[str, str] = {}

    async def create(self, spec: BoxSpec, key: str) -> Box:
        """A sandbox for `spec`; the same one for the same key as long as it lives."""
        if not key:
            return await self._make(spec)
        known = self._by_key.get(key)
        if known is None:
            known = asyncio.ensure_future(self._make(spec))
            self._by_key[key] = known
        try:
            box = await asyncio.shield(known)
        except SandboxError:
            self._by_key.pop(key, None)
            raise
        if box.alive:
            return box
        self._by_key.pop(key, None)
        return await self.create(spec, key)

    async def _make(self, spec: BoxSpec) -> Box:
        return self.pool.take(spec) or await self._start(spec)

    async def _start(self, spec: BoxSpec) -> Box:
        tier = self.tiers.get(spec.tier or self.default)
        if tier is None:
            raise InvalidSpec(f"the tier {spec.tier!r} does not work on this machine; {', '.join(self.tiers)} does")
        id = os.urandom(8).hex()
        if spec.gpu_count:
            if tier.name != WITH_DEVICES:
                raise InvalidSpec(f"GPUs are passed to sandboxes of the tier {WITH_DEVICES} only, not of {tier.name}")
            spec = replace(spec, gpus=self.gpus.take(id, spec.gpu_types, spec.gpu_count))
        try:
            return await self._start_in(tier, spec, id)
        except BaseException:
            self.gpus.give_back(id)
            raise

    async def _start_in(self, tier: Tier, spec: BoxSpec, id: str) -> Box:
        try:
            group = self.groups.create(id, spec.cpu, spec.memory_mb, spec.disk_mb, spec.max_processes)
        except OSError as error:
            raise ProviderUnavailable(f"no control group for the sandbox: {error}") from error
        box = Box(tier, spec, self._folder / id, group, self._box_ended)
        self.boxes[box.id] = box
        try:
            await box.start()
        except BaseException:
            self.boxes.pop(box.id, None)
            raise
        return box

    def get(self, id: Any) -> Box:
        """Raises `NotFound`, with the reason of the end while it is remembered."""
        box = self.boxes.get(id) if isinstance(id, str) else None
        if box is None or not box.alive:
            reason = box.end_reason if box else self._ends.get(str(id), "")
            raise NotFound(f"there is no sandbox {str(id)[:40]!r}" + (f": {reason}" if reason else ""))
        return box

    def find(self, labels: dict[str, str]) -> list[Box]:
        return [box for box in self.in_use() if labels.items() <= box.spec.labels.items()]

    def in_use(self) -> list[Box]:
        return [box for box in self.boxes.values() if box.alive and not self.pool.holds(box)]

    def _box_ended(self, box: Box) -> None:
        self.boxes.pop(box.id, None)
        self.gpus.give_back(box.id)
        self.pool.removed(box)
        self._by_key = {
            key: made
            for key, made in self._by_key.items()
            if not made.done() or made.exception() or made.result() is not box
        }
        self._ends[box.id] = box.end_reason
        while len(self._ends) > REMEMBERED_ENDS:
            del self._ends[next(iter(self._ends))]

    async def close(self) -> None:
        await self.pool.close()
        await asyncio.gather(*(box.end("the service stops") for box in list(self.boxes.values())))
