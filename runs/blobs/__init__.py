"""The content-addressed store: bytes named by their SHA-256, compressed with zstd, written once.

`base` says what a store does, `folder` and `s3` keep the contents, `addresses` chooses between them, `copying` moves them.
"""

from __future__ import annotations

from runs.blobs.addresses import blob_store, open_store
from runs.blobs.base import (
    CHUNK_BYTES,
    REFRESH_AFTER_S,
    BlobCorrupt,
    BlobError,
    BlobMissing,
    BlobStore,
    BlobStoreUnavailable,
    Kept,
    Stored,
)
from runs.blobs.folder import FolderStore

__all__ = [
    "CHUNK_BYTES",
    "REFRESH_AFTER_S",
    "BlobCorrupt",
    "BlobError",
    "BlobMissing",
    "BlobStore",
    "BlobStoreUnavailable",
    "FolderStore",
    "Kept",
    "Stored",
    "blob_store",
    "open_store",
]
