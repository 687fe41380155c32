"""Handing contents of a snapshot to the sandbox that is being restored from it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

from django.conf import settings

from runs.blobs import BlobCorrupt, BlobMissing, BlobStore
from runs.models import BlobUse, Node
from runs.services.boxsetup import context_sha256
from sandboxes.frames import BlobEntry, Need
from sandboxes.link import RunnerLink


def supply(link: RunnerLink, need: Need, node: Node, store: BlobStore) -> None:
    """Answer `need` with the contents that this node's session may have; what is not there is said to be missing.

    The REPL asks, so the question is hostile: it gets nothing that its session does not use. It checks every content
    against its hash itself. Raises `SandboxError`.
    """
    wanted = list(dict.fromkeys(need.blobs))
    allowed = _allowed(wanted, node)
    folder = Path(settings.DATA_DIR) / "outgoing"
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="pack-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as pack:
            found, missing = _write(pack, wanted, allowed, store)
        link.supply(need.id, path, found, missing)
    finally:
        os.unlink(path)


def _allowed(wanted: Collection[str], node: Node) -> set[str]:
    used = BlobUse.objects.filter(session_id=node.session_id, sha256__in=wanted)
    return {*used.values_list("sha256", flat=True), context_sha256(node)}


def _write(
    pack: IO[bytes], wanted: Collection[str], allowed: set[str], store: BlobStore
) -> tuple[list[BlobEntry], list[str]]:
    found: list[BlobEntry] = []
    missing: list[str] = []
    for sha256 in wanted:
        try:
            data = store.get(sha256) if sha256 in allowed else None
        except (BlobMissing, BlobCorrupt):
            data = None
        if data is None:
            missing.append(sha256)
        else:
            pack.write(data)
            found.append(BlobEntry(sha256, len(data)))
    return found, missing
