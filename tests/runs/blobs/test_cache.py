"""Copies of contents of an object store on this machine's disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runs.blobs import BlobCorrupt, BlobStoreUnavailable
from runs.blobs.cache import DiskCache
from runs.blobs.s3 import S3Store
from tests.objectstore import ObjectServer, raw, store_in

TEXT = b"A text that is read twice. " * 5_000


@pytest.fixture
def store(object_server: ObjectServer, tmp_path: Path) -> S3Store:
    return store_in(object_server.bucket(), tmp_path / "cache")


def name(number: int) -> str:
    return f"{number:064x}"


def held(cache: DiskCache) -> set[str]:
    return {path.stem for path in cache.folder.glob("*/*.zst")}


def test_what_was_put_or_read_is_read_again_from_the_disk(store: S3Store, tmp_path: Path) -> None:
    stored = store.put(TEXT)
    reader = store_in(store.bucket, tmp_path / "other")
    assert reader.get(stored.sha256) == TEXT
    client = raw(store.bucket)
    client.delete_object(Bucket=store.bucket.name, Key=store.key(stored.sha256))
    assert store.get(stored.sha256) == TEXT
    assert reader.get(stored.sha256) == TEXT


def test_a_damaged_copy_is_replaced_from_the_store(store: S3Store) -> None:
    stored = store.put(TEXT)
    copy = next(store.cache.folder.glob("*/*.zst"))
    copy.write_bytes(copy.read_bytes()[:-20])
    assert store.get(stored.sha256) == TEXT
    copy.write_bytes(b"not a frame")
    with pytest.raises(BlobCorrupt):
        store.verify(stored.sha256)
    store.verify(stored.sha256)


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 100_000)
    for number in range(8):
        cache.add(name(number), os.urandom(10_000))
    used = cache.open(name(0))
    assert used is not None
    used.close()
    for number in range(8, 13):
        cache.add(name(number), os.urandom(10_000))
    assert name(0) in held(cache)
    assert name(1) not in held(cache)
    assert name(12) in held(cache)


def test_it_never_takes_more_than_its_limit_and_a_look(tmp_path: Path) -> None:
    caches = [DiskCache(tmp_path / "cache", 200_000) for _ in range(3)]  # as three processes would have
    for number in range(200):
        caches[number % 3].add(name(number), os.urandom(4_000))
        taken = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.zst"))
        assert taken <= 200_000 + 3 * (0.05 * 200_000 + 4_000)
    assert held(caches[0])


def test_a_content_that_would_push_out_the_others_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 100_000)
    cache.add(name(1), os.urandom(30_000))
    assert held(cache) == set()


def test_a_content_that_is_being_read_may_be_removed(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 100_000)
    data = os.urandom(20_000)
    cache.add(name(0), data)
    reading = cache.open(name(0))
    assert reading is not None
    for number in range(1, 20):
        cache.add(name(number), os.urandom(20_000))
    assert name(0) not in held(cache)
    with reading:
        assert reading.read() == data


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 100_000)
    cache.add(name(0), b"x")
    left, young = cache.folder / "put-left", cache.folder / "put-young"
    left.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(left, (0, 0))
    DiskCache(tmp_path / "cache", 100_000).add(name(1), b"y")
    assert not left.exists()
    assert young.exists()


def test_a_folder_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobStoreUnavailable, match="RLMWEB_BLOB_CACHE_DIR"):
        DiskCache(tmp_path / "file" / "cache", 100_000).add(name(0), b"x")
