"""The files behind the blob store of the tests, to damage and to age them."""

from __future__ import annotations

from pathlib import Path

from runs.blobs import FolderStore, blob_store


def blob_folder() -> Path:
    return _store().root


def blob_file(sha256: str) -> Path:
    return _store().path_of(sha256)


def _store() -> FolderStore:
    store = blob_store()
    assert isinstance(store, FolderStore)
    return store
