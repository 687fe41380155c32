"""Snapshots at Blaxel: of a whole machine, kept by the workspace, restored as new sandboxes. In private preview."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from sandboxes.contract import SnapshotInfo, SnapshotKind, SnapshotRef, Spec
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    NotFound,
    ProviderUnavailable,
    SandboxError,
    SnapshotFailed,
    SnapshotIncompatible,
    Unsupported,
)
from sandboxes.providers.blaxel.client import BlaxelClient, Deadline, mapping
from sandboxes.providers.blaxel.errors import NAME, malformed
from sandboxes.providers.blaxel.options import gone, memory_mb, timestamp

READY_S = 600.0


async def take(
    client: BlaxelClient, sandbox_url: str, kind: SnapshotKind, *, label: str, poll_s: float
) -> SnapshotInfo:
    """Raises `Unsupported` where the workspace or the sandbox's generation has no snapshots, `SnapshotFailed`,
    `AlreadyTerminated`."""
    words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:20] or "step"
    name = f"rlm-{words}-{uuid4().hex[:16]}"
    try:
        taken = mapping(
            await client.call("POST", f"{sandbox_url}/snapshots", again=False, json={"name": name}, timeout_s=READY_S)
        )
    except (NotFound, AuthFailed, SnapshotIncompatible) as error:
        raise await _why_not(client, sandbox_url, kind, error) from error
    except ProviderUnavailable as error:
        taken = await _find(client, sandbox_url, name, error)
    taken = await _ready(client, taken, poll_s)
    ref = {"provider": NAME, "workspace": client.workspace, "snapshot": str(taken["id"]), "kind": kind}
    region = str((taken.get("spec") or {}).get("region") or "")
    return SnapshotInfo(SnapshotRef(json.dumps(ref)), kind, timestamp(taken.get("createdAt")), region=region)


async def _why_not(client: BlaxelClient, sandbox_url: str, kind: SnapshotKind, error: SandboxError) -> SandboxError:
    """A refusal although the sandbox is there: of the preview."""
    try:
        if gone(mapping(await client.call("GET", sandbox_url, again=True))):
            return AlreadyTerminated("the sandbox has ended", provider=NAME)
    except NotFound:
        return AlreadyTerminated("there is no such sandbox any more", provider=NAME)
    return Unsupported(f"{kind}_snapshot in this workspace or generation ({error})", provider=NAME)


async def _find(client: BlaxelClient, sandbox_url: str, name: str, error: SandboxError) -> dict[str, Any]:
    """The answer was lost: what was taken would be paid for and forgotten."""
    found = await client.call("GET", f"{sandbox_url}/snapshots", again=True)
    for each in found if isinstance(found, list) else mapping(found).get("data") or []:
        if mapping(each).get("name") == name:
            return mapping(each)
    raise error


async def _ready(client: BlaxelClient, taken: dict[str, Any], poll_s: float) -> dict[str, Any]:
    deadline = Deadline(READY_S)
    while taken.get("status") != "ready":
        if taken.get("status") == "failed":
            raise SnapshotFailed(f"snapshot {taken.get('id')} failed", provider=NAME)
        if deadline.over:
            raise SnapshotFailed(f"snapshot {taken.get('id')} is not ready after {READY_S:g} s", provider=NAME)
        await asyncio.sleep(poll_s)
        taken = mapping(await client.call("GET", url_of(client, str(taken.get("id"))), again=True))
    if not taken.get("id"):
        raise malformed("a snapshot without an id")
    return taken


async def check(client: BlaxelClient, snapshot: str, spec: Spec) -> None:
    """Raises `NotFound`, `SnapshotFailed`, `SnapshotIncompatible`."""
    found = mapping(await client.call("GET", url_of(client, snapshot), again=True))
    if found.get("status") == "failed":
        raise SnapshotFailed(f"snapshot {snapshot} failed when it was taken", provider=NAME)
    held = mapping(found.get("spec") or {})
    region, memory = str(held.get("region") or ""), held.get("memory")
    if spec.region and region and spec.region != region:
        raise SnapshotIncompatible(
            f"the snapshot is in {region} and restores only there, not in {spec.region}", provider=NAME
        )
    if isinstance(memory, int) and memory < memory_mb(spec):
        raise SnapshotIncompatible(
            f"a copy has the {memory} MB of its source, and memory_mb and cpu ask for {memory_mb(spec)}", provider=NAME
        )


def url_of(client: BlaxelClient, snapshot: str) -> str:
    return client.url(f"/snapshots/{quote(snapshot, safe='')}")
