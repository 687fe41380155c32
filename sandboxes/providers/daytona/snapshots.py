"""Snapshots of Daytona: taking, waiting for them, and looking at one before something is made of it.

Containers are saved as they are, files only. A running VM is saved hot, with its memory, or not at all: without memory it
would have to be stopped. An organisation has few of them (a third party reports 60) and they are kept until deleted.
"""

from __future__ import annotations

import asyncio
import json
import time
from uuid import uuid4

from daytona_api_client_async import CreateSandboxSnapshot, SnapshotDto

from sandboxes.contract import SnapshotInfo, SnapshotKind, SnapshotRef
from sandboxes.errors import (
    AlreadyTerminated,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    SandboxError,
    SnapshotExpired,
    SnapshotFailed,
    SnapshotIncompatible,
    Unsupported,
)
from sandboxes.providers.daytona.client import Client
from sandboxes.providers.daytona.description import NAME
from sandboxes.providers.daytona.errors import translated
from sandboxes.providers.daytona.options import VM

CALL_TIMEOUT_S = 60.0
WAIT_TIMEOUT_S = 600.0
POLL_S = 0.5
NAME_PREFIX = "rlm-"


class Snapshots:
    def __init__(self, client: Client, poll_s: float) -> None:
        self._client = client
        self._poll_s = poll_s

    async def take(self, sandbox_id: str, sandbox_class: str, kind: SnapshotKind) -> SnapshotInfo:
        """Raises `Unsupported` for the memory of a container, `QuotaExceeded` where the organisation has too many."""
        hot = sandbox_class == VM
        if kind == "memory" and not hot:
            raise Unsupported("memory_snapshot of a container (ask for isolation_min microvm)", provider=NAME)
        name = f"{NAME_PREFIX}{uuid4().hex}"
        await self._request(sandbox_id, name, hot)
        try:
            taken = await self._settled(name)
        except (SandboxError, asyncio.CancelledError):
            await self._discard(name)  # there is room for few
            raise
        ref = SnapshotRef(json.dumps({"provider": NAME, "snapshot": name}))
        regions = taken.region_ids or []
        region = regions[0] if len(regions) == 1 else ""
        return SnapshotInfo(ref, "memory" if hot else "fs", taken.created_at.timestamp(), region=region)

    async def _request(self, sandbox_id: str, name: str, hot: bool) -> None:
        asked = CreateSandboxSnapshot(name=name, include_memory=hot)
        try:
            with translated():
                await self._client.sandboxes.create_sandbox_snapshot(sandbox_id, asked, _request_timeout=CALL_TIMEOUT_S)
        except NotFound as error:
            raise AlreadyTerminated(f"there is no sandbox {sandbox_id} any more", provider=NAME) from error
        except QuotaExceeded as error:
            raise QuotaExceeded(
                f"{error}; delete snapshots of earlier steps first", provider=NAME, status=error.status
            ) from error
        except ProviderUnavailable:
            if not await self._exists(name):  # was it the answer only that was lost?
                raise

    async def _exists(self, name: str) -> bool:
        try:
            await self.find(name)
        except NotFound:
            return False
        return True

    async def _settled(self, name: str) -> SnapshotDto:
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while True:
            found = await self.find(name)
            if found.state == "active":
                return found
            if found.state in ("error", "build_failed", "removing"):
                raise SnapshotFailed(f"snapshot {name}: {found.error_reason or found.state.value}", provider=NAME)
            if time.monotonic() > deadline:
                raise SnapshotFailed(f"snapshot {name} is {found.state.value} for too long", provider=NAME)
            await asyncio.sleep(self._poll_s)

    async def _discard(self, name: str) -> None:
        try:
            await self.delete(name)
        except SandboxError:
            return  # the error that is on its way says more

    async def find(self, name: str) -> SnapshotDto:
        """By name or id. Raises `NotFound`."""
        with translated():
            found = await self._client.snapshots.get_snapshot(name, _request_timeout=CALL_TIMEOUT_S)
            if not isinstance(found, SnapshotDto):
                raise ProviderUnavailable(f"no snapshot, but {type(found).__name__}", provider=NAME)
            return found

    async def usable(self, name: str, region: str) -> SnapshotDto:
        """The snapshot, ready to start sandboxes from; one that lay idle is activated first.

        Raises `NotFound`, `SnapshotExpired` and, for another region than its own, `SnapshotIncompatible`.
        """
        found = await self.find(name)
        if found.state in ("removing", "error", "build_failed"):
            raise SnapshotExpired(f"snapshot {name} is {found.state.value}", provider=NAME)
        if region and found.region_ids and region not in found.region_ids:
            raise SnapshotIncompatible(
                f"snapshot {name} is in {', '.join(found.region_ids)}, not in {region}", provider=NAME
            )
        if found.state == "inactive":
            with translated():
                await self._client.snapshots.activate_snapshot(found.id, _request_timeout=CALL_TIMEOUT_S)
        return found if found.state == "active" else await self._settled(name)

    async def delete(self, name: str) -> None:
        """One that is gone is success. By its id: this call takes no name."""
        try:
            found = await self.find(name)
            with translated():
                await self._client.snapshots.remove_snapshot(found.id, _request_timeout=CALL_TIMEOUT_S)
        except NotFound:
            return
