"""Snapshots of E2B: of files, or of files and memory. They are templates of their own and are kept until deleted."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from uuid import uuid4

from e2b import AsyncSandbox, SandboxException

from sandboxes.contract import SnapshotInfo, SnapshotKind, SnapshotRef
from sandboxes.errors import AlreadyTerminated, NotFound, ProviderUnavailable, SandboxError, SnapshotFailed
from sandboxes.providers.e2b.client import Client
from sandboxes.providers.e2b.description import NAME
from sandboxes.providers.e2b.errors import translated

TIMEOUT_S = 300.0
REFUSALS = (400, 409)
"""Of a snapshot of files only: the team has not got it, or the sandbox's node is too old. One with memory works."""


class Snapshots:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._has_files_only = True

    @property
    def _options(self) -> dict[str, Any]:
        return {**self._client.options, "request_timeout": TIMEOUT_S}

    async def take(self, sandbox_id: str, kind: SnapshotKind, label: str) -> SnapshotInfo:
        """For `fs` of files only where the team has that; else of everything, and `restore` ends what runs in a copy."""
        words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:20] or "step"
        name = f"rlm-{words}-{uuid4().hex[:16]}"
        started_at = time.time()
        try:
            taken = await self._take(sandbox_id, name, kind)
        except NotFound as error:
            raise AlreadyTerminated(f"there is no sandbox {sandbox_id} any more", provider=NAME) from error
        except ProviderUnavailable as error:
            taken = await self._find(sandbox_id, name, error)
        ref = SnapshotRef(json.dumps({"provider": NAME, "snapshot": taken, "kind": kind}))
        return SnapshotInfo(ref, kind, started_at)

    async def _take(self, sandbox_id: str, name: str, kind: SnapshotKind) -> str:
        with translated():
            if kind == "fs" and self._has_files_only:
                try:
                    taken = await AsyncSandbox.create_snapshot(sandbox_id, name, mode="filesystem", **self._options)
                    return taken.snapshot_id
                except SandboxException as error:
                    if error.status_code not in REFUSALS:
                        raise
                    # A node too old is left behind some day; what the team has not got, it will not have tomorrow.
                    self._has_files_only = error.status_code != 400
            taken = await AsyncSandbox.create_snapshot(sandbox_id, name, mode="full", **self._options)
            return taken.snapshot_id

    async def _find(self, sandbox_id: str, name: str, error: SandboxError) -> str:
        """The answer was lost: what was taken would be kept and forgotten."""
        with translated():
            pages = AsyncSandbox.list_snapshots(sandbox_id, **self._client.options)
            while pages.has_next:
                for found in await pages.next_items():
                    if name in found.snapshot_id or any(name in each for each in found.names):
                        return str(found.snapshot_id)
        raise SnapshotFailed(f"the snapshot was not taken: {error}", provider=NAME) from error

    async def delete(self, snapshot: str) -> None:
        """One that is gone is success."""
        with translated():
            await AsyncSandbox.delete_snapshot(snapshot, **self._client.options)
