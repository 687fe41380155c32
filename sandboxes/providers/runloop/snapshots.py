"""Disk snapshots: taking, waiting for them, and looking at one before something is made of it.

They hold the whole disk and no memory, outlive their devbox and are kept until they are deleted.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from uuid import uuid4

from runloop_api_client.types import DevboxSnapshotView
from runloop_api_client.types.devboxes import DevboxSnapshotAsyncStatusView

from sandboxes.contract import SnapshotInfo, SnapshotRef
from sandboxes.errors import NotFound, ProviderUnavailable, SandboxError, SnapshotExpired, SnapshotFailed
from sandboxes.providers.runloop.client import Client
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.errors import translated
from sandboxes.providers.runloop.options import LABEL

WAIT_TIMEOUT_S = 600.0
MAX_LABEL_CHARS = 1000


class Snapshots:
    def __init__(self, client: Client, poll_s: float) -> None:
        self._client = client
        self._poll_s = poll_s

    async def take(self, devbox_id: str, label: str) -> SnapshotInfo:
        """Raises `SnapshotFailed` with the vendor's reason."""
        words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:20] or "step"
        name = f"rlm-{words}-{uuid4().hex[:16]}"
        started = await self._start(devbox_id, name, label)
        try:
            taken = await self._settled(started.id)
        except (SandboxError, asyncio.CancelledError):
            await self._discard(started.id)  # it would be kept, and paid for, and forgotten
            raise
        view = taken.snapshot or started
        ref = SnapshotRef(json.dumps({"provider": NAME, "snapshot": started.id}))
        return SnapshotInfo(ref, "fs", view.create_time_ms / 1000, size_bytes=view.size_bytes)

    async def _start(self, devbox_id: str, name: str, label: str) -> DevboxSnapshotView:
        try:
            with translated():
                started = await self._client.api.devboxes.snapshot_disk_async(
                    devbox_id,
                    name=name,
                    commit_message=label[:MAX_LABEL_CHARS],
                    metadata={LABEL: "1"},
                    idempotency_key=name,
                )
                if not started.id:
                    raise ProviderUnavailable("the snapshot has no id", provider=NAME)
                return started
        except ProviderUnavailable as error:
            found = await self._named(devbox_id, name)  # was it the answer only that was lost?
            if found is None:
                raise SnapshotFailed(f"the snapshot was not taken: {error}", provider=NAME) from error
            return found

    async def _named(self, devbox_id: str, name: str) -> DevboxSnapshotView | None:
        with translated():
            listed = self._client.api.devboxes.disk_snapshots.list(
                devbox_id=devbox_id, limit=100, include_total_count=False
            )
            async for each in listed:
                if each.name == name:
                    return each
        return None

    async def _settled(self, id: str) -> DevboxSnapshotAsyncStatusView:
        """The client's own `await_completed` takes one that was deleted for one that is not done."""
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while True:
            found = await self._status(id)
            if found.status == "complete":
                return found
            if found.status == "error":
                raise SnapshotFailed(f"snapshot {id}: {found.error_message or 'no reason given'}", provider=NAME)
            if found.status != "in_progress":
                raise SnapshotExpired(f"snapshot {id} is {found.status}", provider=NAME)
            if time.monotonic() > deadline:
                raise SnapshotFailed(f"snapshot {id} takes more than {WAIT_TIMEOUT_S:g} s", provider=NAME)
            await asyncio.sleep(self._poll_s)

    async def _status(self, id: str) -> DevboxSnapshotAsyncStatusView:
        with translated():
            found = await self._client.api.devboxes.disk_snapshots.query_status(id)
            if not isinstance(found, DevboxSnapshotAsyncStatusView):
                raise ProviderUnavailable(f"no snapshot, but {type(found).__name__}", provider=NAME)
            return found

    async def require(self, id: str) -> None:
        """Ready to make devboxes from. Raises `NotFound`, `SnapshotExpired` or `SnapshotFailed`."""
        await self._settled(id)

    async def _discard(self, id: str) -> None:
        try:
            await self.delete(id)
        except SandboxError:
            return  # the error that is on its way says more

    async def delete(self, id: str) -> None:
        """One that is gone is success."""
        try:
            with translated():
                await self._client.api.devboxes.disk_snapshots.delete(id, idempotency_key=uuid4().hex)
        except NotFound:
            return
