from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runs.blobs import BlobStore, FolderStore
from tests.objectstore import ObjectServer, store_in


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    server = ObjectServer(tmp_path_factory.mktemp("moto") / "log")
    yield server
    server.kill()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """One of each back end, empty."""
    if request.param == "folder":
        return FolderStore(tmp_path / "blobs")
    server: ObjectServer = request.getfixturevalue("object_server")
    return store_in(server.bucket("some/prefix/"), tmp_path / "cache")
