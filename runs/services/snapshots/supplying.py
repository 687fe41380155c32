"""Handing contents of a snapshot to the sandbox that is being restored from it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import IO

from runs.blobs import BlobError, BlobStore
from runs.models import BlobUse, Node
from runs.services.boxsetup import context_sha256
from runs.services.snapshots.passing import passing_file
from runs.services.snapshots.reading import named
from sandboxes.frames import BlobEntry, Need
from sandboxes.link import RunnerLink
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)


def supply(link: RunnerLink, need: Need, node: Node, store: BlobStore) -> list[str]:
    """Answer `need` with the contents that this node's session may have; returns those that are missing or damaged.

    The REPL asks, so the question is hostile: it gets nothing that its session does not use. Raises `SandboxError`.
    """
    wanted = list(dict.fromkeys(need.blobs))
    allowed = _allowed(wanted, node)
    with passing_file() as path:
        with path.open("wb") as pack:
            found, missing = _write(pack, wanted, allowed, store)
        link.supply(need.id, str(path), found, missing)
    return missing


def lacking(snapshot: Snapshot | None, missing: Collection[str]) -> str:
    """What to say of contents that could not be supplied. None: nobody knows which snapshot needs them."""
    name = named(snapshot) if snapshot is not None else "the snapshot that the sandbox was restored from"
    return f"{name}: {len(missing)} of its contents are missing in the store or damaged, {min(missing)} first"


def _allowed(wanted: Collection[str], node: Node) -> set[str]:
    used = BlobUse.objects.filter(session_id=node.session_id, sha256__in=wanted)
    return {*used.values_list("sha256", flat=True), context_sha256(node)}


def _write(
    pack: IO[bytes], wanted: Collection[str], allowed: set[str], store: BlobStore
) -> tuple[list[BlobEntry], list[str]]:
    found: list[BlobEntry] = []
    missing: list[str] = []
    for sha256 in wanted:
        size_bytes = _append(pack, sha256, store) if sha256 in allowed else None
        if size_bytes is None:
            missing.append(sha256)
        else:
            found.append(BlobEntry(sha256, size_bytes))
    return found, missing


def _append(pack: IO[bytes], sha256: str, store: BlobStore) -> int | None:
    """Write one content to the end of `pack`; None, and nothing is written, when it is missing or damaged."""
    start = pack.tell()
    try:
        for chunk in store.chunks(sha256):
            pack.write(chunk)
        return pack.tell() - start
    except BlobError as error:
        logger.warning("content %s cannot be supplied: %s", sha256, error)
    pack.seek(start)
    pack.truncate()
    return None
