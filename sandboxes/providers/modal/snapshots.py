"""Snapshots of Modal: of the file system, which are images, and of memory, an experiment of the vendor's."""

from __future__ import annotations

import json
import math
from typing import Any

import modal
import modal.experimental
from modal import SandboxSnapshot

from sandboxes.contract import SnapshotInfo, SnapshotKind, SnapshotRef
from sandboxes.errors import NotFound, SnapshotFailed, Unsupported
from sandboxes.providers.modal.client import Client
from sandboxes.providers.modal.description import MEMORY_SNAPSHOT_DAYS, NAME
from sandboxes.providers.modal.errors import translated

TIMEOUT_S = 300
MEMORY_TTL_S = MEMORY_SNAPSHOT_DAYS * 86_400.0


async def take_files(sandbox: Any, started_at: float, ttl_s: float | None) -> SnapshotInfo:
    """Without a `ttl_s` it is kept until deleted; the vendor's own default is 30 days."""
    ttl = max(1, math.ceil(ttl_s)) if ttl_s is not None else None
    try:
        image = await sandbox.snapshot_filesystem.aio(timeout=TIMEOUT_S, ttl=ttl)
    except modal.exception.TimeoutError as error:
        raise SnapshotFailed(f"the snapshot took longer than {TIMEOUT_S} s", provider=NAME) from error
    expires_at = started_at + ttl if ttl is not None else None
    return SnapshotInfo(reference(image.object_id, "fs"), "fs", started_at, expires_at)


async def take_memory(sandbox: Any, started_at: float) -> SnapshotInfo:
    try:
        taken = await sandbox._experimental_snapshot.aio()
    except modal.exception.InvalidError as error:
        raise Unsupported(f"memory_snapshot ({error})", provider=NAME) from error
    return SnapshotInfo(reference(taken.object_id, "memory"), "memory", started_at, started_at + MEMORY_TTL_S)


async def restore_memory(client: Client, snapshot: str, name: str) -> modal.Sandbox:
    """A sandbox with what its parent was made with: size, network, length of life."""
    opened = await client.open()
    kept = SandboxSnapshot.from_id(snapshot, client=opened)
    made: modal.Sandbox = await modal.Sandbox._experimental_from_snapshot.aio(kept, client=opened, name=name)
    return made


async def delete(client: Client, kind: str, snapshot: str) -> None:
    """One that is gone is success. The vendor has no call for those of memory, which end by themselves."""
    if kind == "memory":
        return
    opened = await client.open()
    try:
        with translated():
            await modal.experimental.image_delete.aio(snapshot, client=opened)
    except NotFound:
        return


def reference(id: str, kind: SnapshotKind) -> SnapshotRef:
    return SnapshotRef(json.dumps({"provider": NAME, "snapshot": id, "kind": kind}))
