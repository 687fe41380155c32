"""What every back end does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runs.blobs import CHUNK_BYTES, BlobMissing, BlobStore

TEXT = "Zeile für Zeile. ".encode() * 500
NOBODYS = "0" * 64
SIZES = (0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17)


@pytest.mark.parametrize("size", SIZES)
def test_a_content_comes_back_as_it_was_put(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    stored = store.put(data)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.size_bytes == size
    assert store.get(stored.sha256) == data
    store.verify(stored.sha256)
    assert store.has(stored.sha256)


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_is_stored_like_its_whole(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    streamed = store.put_stream(data[start : start + 65_537] for start in range(0, size, 65_537))
    assert (streamed.sha256, streamed.size_bytes) == (hashlib.sha256(data).hexdigest(), size)
    assert store.get(streamed.sha256) == data
    assert store.put(data).sha256 == streamed.sha256
    assert [each.sha256 for each in store.iterate()] == [streamed.sha256]


def test_contents_of_more_than_one_part(store: BlobStore) -> None:
    """S3 gets them in parts of 16 MiB."""
    block = os.urandom(CHUNK_BYTES)
    stored = store.put_stream(block for _ in range(20))
    noise = store.put_stream(os.urandom(CHUNK_BYTES) for _ in range(35))
    assert store.get(stored.sha256) == block * 20
    store.verify(noise.sha256)
    assert noise.stored_bytes > 35 * CHUNK_BYTES
    with store.open(noise.sha256) as stream:
        read_bytes = sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""))
    assert read_bytes == noise.size_bytes == 35 * CHUNK_BYTES


def test_a_text(store: BlobStore) -> None:
    assert store.text(store.put(TEXT).sha256) == TEXT.decode()


def test_putting_again_says_the_same(store: BlobStore) -> None:
    assert store.put(TEXT) == store.put(TEXT)
    assert len(list(store.iterate())) == 1


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (5, 0), (100, 4_000), (len(TEXT) - 3, 10), (len(TEXT), 5), (10**9, 5)]
)
def test_a_slice(store: BlobStore, offset: int, length: int) -> None:
    assert store.slice(store.put(TEXT).sha256, offset, length) == TEXT[offset : offset + length]


def test_a_slice_far_into_a_large_content(store: BlobStore) -> None:
    data = os.urandom(3 * CHUNK_BYTES)
    stored = store.put(data)
    assert store.slice(stored.sha256, 2 * CHUNK_BYTES + 5, 1000) == data[2 * CHUNK_BYTES + 5 :][:1000]


@pytest.mark.parametrize("name", [NOBODYS, "", "ab", "../../etc/passwd", "A" * 64, "0" * 63 + "g", "0" * 65])
def test_a_name_that_is_not_there(store: BlobStore, name: str) -> None:
    with pytest.raises(BlobMissing):
        store.get(name)
    with pytest.raises(BlobMissing):
        store.open(name)
    with pytest.raises(BlobMissing):
        store.verify(name)


def test_nothing_is_deleted_that_is_not_there(store: BlobStore) -> None:
    assert not store.has(NOBODYS)
    assert not store.delete(NOBODYS)
    assert list(store.iterate()) == []


def test_a_copy_in_a_file(store: BlobStore, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "copy"
    store.copy_to(store.put(TEXT).sha256, target)
    assert target.read_bytes() == TEXT
    with pytest.raises(BlobMissing):
        store.copy_to(NOBODYS, target.with_name("other"))
    assert [path.name for path in target.parent.iterdir()] == ["copy"]


def test_every_content_is_listed_with_its_size_and_time(store: BlobStore) -> None:
    stored = {each.sha256: each for each in (store.put(bytes([number])) for number in range(20))}
    kept = {each.sha256: each for each in store.iterate()}
    assert kept.keys() == stored.keys()
    assert all(kept[name].stored_bytes == stored[name].stored_bytes for name in stored)
    assert all(abs(datetime.now(UTC) - each.modified_at) < timedelta(minutes=5) for each in kept.values())


def test_a_deleted_content_is_gone_and_can_be_put_again(store: BlobStore) -> None:
    stored = store.put(TEXT)
    other = store.put(b"other")
    assert store.delete(stored.sha256)
    with pytest.raises(BlobMissing):
        store.get(stored.sha256)
    assert [each.sha256 for each in store.iterate()] == [other.sha256]
    assert store.put(TEXT) == stored
    assert store.get(stored.sha256) == TEXT


def test_only_what_is_old_enough_is_deleted(store: BlobStore) -> None:
    stored = store.put(TEXT)
    assert not store.delete(stored.sha256, unless_newer_than=datetime.now(UTC) - timedelta(hours=2))
    assert store.get(stored.sha256) == TEXT
    assert store.delete(stored.sha256, unless_newer_than=datetime.now(UTC) + timedelta(hours=2))
    assert not store.has(stored.sha256)


def test_many_are_deleted_together(store: BlobStore) -> None:
    names = [store.put(bytes([number])).sha256 for number in range(30)]
    assert store.delete_many([*names[:20], NOBODYS]) == set(names[:20])
    assert {each.sha256 for each in store.iterate()} == set(names[20:])


def test_a_stream_whose_source_fails_stores_nothing(store: BlobStore) -> None:
    class HungUp(OSError):
        pass

    def broken() -> Iterator[bytes]:
        yield TEXT
        raise HungUp

    with pytest.raises(HungUp):
        store.put_stream(broken())
    assert list(store.iterate()) == []


def test_many_threads_put_and_read_the_same(store: BlobStore) -> None:
    texts = [bytes([number % 5]) * 10_000 for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(store.put, texts))
        assert list(threads.map(store.get, [each.sha256 for each in stored])) == texts
    assert len(list(store.iterate())) == 5


def test_a_store_that_works_passes_its_check(store: BlobStore) -> None:
    store.check()
    assert list(store.iterate()) == []
