"""Moving an installation's contents."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs.blobs import BlobStore, BlobStoreUnavailable, FolderStore, open_store
from runs.blobs.copying import copy_contents
from tests.objectstore import KEYS, ObjectServer, forget_stores

TEXTS = [f"content {number} ".encode() * (number * 50) for number in range(40)]


@pytest.fixture
def source(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "old")
    for text in TEXTS:
        store.put(text)
    return store


@pytest.fixture(params=["folder", "s3"])
def target_url(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Iterator[str]:
    settings.BLOB_STORE_ACCESS_KEY, settings.BLOB_STORE_SECRET_KEY = KEYS.access_key, KEYS.secret_key
    settings.BLOB_CACHE_DIR = tmp_path / "cache"
    if request.param == "folder":
        yield (tmp_path / "new").as_uri()
    else:
        server: ObjectServer = request.getfixturevalue("object_server")
        yield server.bucket("moved/").url
    forget_stores()


def names(store: BlobStore) -> set[str]:
    return {each.sha256 for each in store.iterate()}


def copy(source: FolderStore, target_url: str, *options: str) -> str:
    out = io.StringIO()
    call_command("copy_blobs", "--from", source.url, "--to", target_url, *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_everything_is_copied_once(source: FolderStore, target_url: str) -> None:
    assert copy(source, target_url).startswith("40 contents")
    target = open_store(target_url)
    assert names(target) == names(source)
    assert sorted(target.get(name) for name in names(target)) == sorted(TEXTS)
    source.put(b"came later")
    assert copy(source, target_url).startswith("1 contents")
    assert names(target) == names(source)


def test_a_dry_run_copies_nothing(source: FolderStore, target_url: str) -> None:
    assert copy(source, target_url, "--dry-run").startswith("40 contents")
    assert names(open_store(target_url)) == set()


def test_a_damaged_content_is_reported_and_the_others_are_copied(source: FolderStore, target_url: str) -> None:
    bad = source.put(TEXTS[7]).sha256
    source.path_of(bad).write_bytes(b"no frame")
    with pytest.raises(CommandError, match="1 contents are damaged"):
        copy(source, target_url)
    assert names(open_store(target_url)) == names(source) - {bad}


def test_what_was_interrupted_goes_on(source: FolderStore, target_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_store(target_url, cached=False)
    put_stream: Callable[..., Any] = target.put_stream
    left = iter(range(15))

    def failing(chunks: Any) -> Any:
        if next(left, None) is None:
            raise BlobStoreUnavailable("it went away")
        return put_stream(chunks)

    with monkeypatch.context() as broken:
        broken.setattr(target, "put_stream", failing)
        with pytest.raises(BlobStoreUnavailable):
            copy_contents(source, target, dry_run=False)
    copied = names(target)
    assert 0 < len(copied) < 40
    done = copy_contents(source, target, dry_run=False)
    assert (done.there, done.copied) == (len(copied), 40 - len(copied))
    assert names(target) == names(source)


def test_the_same_store_is_refused(source: FolderStore) -> None:
    with pytest.raises(CommandError, match="same store"):
        copy(source, source.url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blobs",
        "ftp://host/x",
        "file://host/x",
        "s3://",
        "s3://key:secret@bucket/x",
        "s3://b?bad=1",
        "s3://b?endpoint=x",
    ],
)
def test_an_address_of_no_store_is_refused(source: FolderStore, url: str) -> None:
    with pytest.raises(CommandError) as refused:
        copy(source, url)
    assert refused.value.returncode == 2
    assert "secret@" not in str(refused.value)
