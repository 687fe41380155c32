"""Contents of a snapshot on their way from the sandbox into the blob store, in threads of their own.

What a runner says of its contents is a claim: each is hashed again here, and stored under the hash that it has.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import IO

from runs.blobs import BlobError, BlobStore, Stored
from runs.services.snapshots.passing import passing_file
from sandboxes import aio
from sandboxes.contract import Sandbox
from sandboxes.errors import ProtocolViolation, SandboxError
from sandboxes.frames import MAX_PART_BYTES, BlobEntry, SnapshotPart

FETCH_TIMEOUT_S = 120.0
CHUNK_BYTES = 1024 * 1024


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="rlmweb-snapshots")


def store_part(sandbox: Sandbox, part: SnapshotPart, store: BlobStore, max_bytes: int) -> Future[list[Stored]]:
    """Fetch the part's file, when it has one, and store its contents. Fails with `SandboxError`, `BlobError` or
    `OSError`."""
    if part.file:
        return _pool().submit(_store_file, sandbox, part, store, max_bytes)
    stored: Future[list[Stored]] = Future()
    try:
        stored.set_result(_store_data(part, store))  # a few KB: a thread for it would cost more than it does
    except (SandboxError, BlobError, OSError) as error:
        stored.set_exception(error)
    return stored


def _store_data(part: SnapshotPart, store: BlobStore) -> list[Stored]:
    with io.BytesIO(part.data) as file:
        return [_store(file, blob, store) for blob in part.blobs]


def _store_file(sandbox: Sandbox, part: SnapshotPart, store: BlobStore, max_bytes: int) -> list[Stored]:
    with passing_file() as path:
        aio.run(sandbox.get_file(part.file, str(path), max_bytes=max_bytes), timeout_s=FETCH_TIMEOUT_S)
        with path.open("rb") as file:
            return [_store(file, blob, store) for blob in part.blobs]


def _store(file: IO[bytes], blob: BlobEntry, store: BlobStore) -> Stored:
    """One content, from where the file is read. A large one is never in memory as a whole."""
    if 0 <= blob.size_bytes <= MAX_PART_BYTES:
        data = file.read(blob.size_bytes)
        _require(hashlib.sha256(data).hexdigest(), blob)
        return store.put(data)
    stored = store.put_stream(_chunks(file, blob.size_bytes))
    _require(stored.sha256, blob)
    return stored


def _chunks(file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    while size_bytes > 0 and (chunk := file.read(min(size_bytes, CHUNK_BYTES))):
        size_bytes -= len(chunk)
        yield chunk


def _require(sha256: str, blob: BlobEntry) -> None:
    if sha256 != blob.sha256:
        raise ProtocolViolation(f"the sandbox sent a content that does not have its hash {blob.sha256[:80]}")


def sizes(stored: Iterable[Stored]) -> int:
    return sum(each.stored_bytes for each in stored)
