"""Contents of a snapshot on their way from the sandbox into the blob store, in threads of their own.

What a runner says of its contents is a claim: each is hashed again here, and stored under the hash that it has.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO

from django.conf import settings

from runs.blobs import BlobStore, Stored
from sandboxes import aio
from sandboxes.contract import Sandbox
from sandboxes.errors import ProtocolViolation
from sandboxes.frames import MAX_PART_BYTES, BlobEntry, SnapshotPart

MAX_PART_FILE_BYTES = 2 * MAX_PART_BYTES
FETCH_TIMEOUT_S = 120.0


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="rlmweb-snapshots")


def store_part(sandbox: Sandbox, part: SnapshotPart, store: BlobStore) -> Future[list[Stored]]:
    """Fetch the part's file and store its contents. Fails with `SandboxError`, `BlobError` or `OSError`."""
    return _pool().submit(_store_part, sandbox, part, store)


def _store_part(sandbox: Sandbox, part: SnapshotPart, store: BlobStore) -> list[Stored]:
    folder = Path(settings.DATA_DIR) / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="part-", dir=folder)
    os.close(handle)
    try:
        aio.run(sandbox.get_file(part.file, path, max_bytes=MAX_PART_FILE_BYTES), timeout_s=FETCH_TIMEOUT_S)
        with open(path, "rb") as file:
            return [_store(_read(file, blob), blob.sha256, store) for blob in part.blobs]
    finally:
        os.unlink(path)


def _read(file: IO[bytes], blob: BlobEntry) -> bytes:
    if not 0 <= blob.size_bytes <= MAX_PART_FILE_BYTES:
        raise ProtocolViolation(f"the sandbox speaks of a content of {blob.size_bytes} bytes")
    return file.read(blob.size_bytes)


def _store(data: bytes, sha256: str, store: BlobStore) -> Stored:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ProtocolViolation(f"the sandbox sent a content that does not have its hash {sha256}")
    return store.put(data)


def sizes(stored: Iterable[Stored]) -> int:
    return sum(each.stored_bytes for each in stored)
