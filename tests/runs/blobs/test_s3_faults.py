"""What goes wrong with an object store, and what is said about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from runs.blobs import CHUNK_BYTES, BlobCorrupt, BlobStoreUnavailable, s3, s3deleting
from runs.blobs.s3 import Bucket, Keys, S3Store
from tests.installations import wait_for
from tests.objectstore import ObjectServer, breaking, raw, store_in

TEXT = b"A text that is stored. " * 5_000
LARGE_BYTES = 6 * CHUNK_BYTES
TINY_CACHE = 1
"""Bytes; nothing fits, so every read is from the store."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "CONNECT_TIMEOUT_S", 2)
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 10)
    monkeypatch.setattr(s3, "ATTEMPTS", 2)


@pytest.fixture
def store(object_server: ObjectServer, tmp_path: Path) -> S3Store:
    return store_in(object_server.bucket(), tmp_path / "cache", cache_bytes=TINY_CACHE)


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """One that wants to know the key of everybody after the first request, which made a bucket."""
    server = ObjectServer(tmp_path_factory.mktemp("strict") / "log", asks_after=1)
    yield server
    server.kill()


def uses(store: S3Store) -> list[Callable[[], object]]:
    return [
        store.check,
        lambda: store.put(TEXT),
        lambda: store.put_stream([TEXT]),
        lambda: store.get("0" * 64),
        lambda: list(store.iterate()),
        lambda: store.delete("0" * 64),
    ]


def overwrite(store: S3Store, sha256: str, change: Callable[[bytearray], object]) -> None:
    client = raw(store.bucket)
    found = client.get_object(Bucket=store.bucket.name, Key=store.key(sha256))
    packed = bytearray(found["Body"].read())
    change(packed)
    client.put_object(Bucket=store.bucket.name, Key=store.key(sha256), Body=bytes(packed), Metadata=found["Metadata"])


def flip(packed: bytearray) -> None:
    packed[len(packed) // 2] ^= 1


def cut(packed: bytearray) -> None:
    del packed[len(packed) // 2 :]


def test_a_bucket_that_is_missing(object_server: ObjectServer, tmp_path: Path) -> None:
    store = store_in(Bucket("no-such-bucket", "", object_server.endpoint), tmp_path)
    for use in uses(store):
        with pytest.raises(BlobStoreUnavailable, match=r"NoSuchBucket.*Make the bucket"):
            use()


def test_a_wrong_key(strict_server: ObjectServer, tmp_path: Path) -> None:
    store = store_in(strict_server.bucket(), tmp_path, keys=Keys("somebody", "a-secret-that-is-wrong"))
    for use in uses(store):
        with pytest.raises(BlobStoreUnavailable, match="access key") as refused:
            use()
        assert "a-secret" not in str(refused.value)
    assert "a-secret" not in repr(store._keys)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "log")
    store = store_in(server.bucket(), tmp_path / "cache", cache_bytes=TINY_CACHE)
    stored = store.put(TEXT)
    server.kill()
    now_impossible: list[Callable[[], object]] = [
        store.check,
        lambda: store.put(b"another"),
        lambda: store.put_stream([b"another"]),
        lambda: store.get(stored.sha256),
        lambda: store.has(stored.sha256),
        lambda: list(store.iterate()),
        lambda: store.delete(stored.sha256),
    ]
    for use in now_impossible:
        with pytest.raises(BlobStoreUnavailable, match="endpoint"):
            use()


def test_a_server_that_is_killed_while_a_content_is_read(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "log")
    store = store_in(server.bucket(), tmp_path / "cache", cache_bytes=TINY_CACHE)
    stored = store.put(os.urandom(40 * CHUNK_BYTES))
    with store.open(stored.sha256) as stream:
        assert len(stream.read(CHUNK_BYTES)) == CHUNK_BYTES
        server.kill()
        with pytest.raises(BlobStoreUnavailable):
            list(iter(lambda: stream.read(CHUNK_BYTES), b""))


def test_a_server_that_is_killed_while_a_content_is_put(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "log")
    store = store_in(server.bucket(), tmp_path / "cache")

    def killing() -> Iterator[bytes]:
        yield os.urandom(CHUNK_BYTES)
        server.kill()
        yield os.urandom(CHUNK_BYTES)

    with pytest.raises(BlobStoreUnavailable):
        store.put_stream(killing())
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_lost_connection_costs_nothing(object_server: ObjectServer, tmp_path: Path) -> None:
    data = os.urandom(LARGE_BYTES)
    with breaking(object_server.port) as proxy:
        store = store_in(object_server.bucket(endpoint=proxy.endpoint), tmp_path, cache_bytes=TINY_CACHE)
        stored = store.put(data)
        proxy.cut_after, proxy.cuts_left = CHUNK_BYTES, 2
        assert store.get(stored.sha256) == data
        assert proxy.cuts == 2


def test_a_connection_that_is_always_lost_is_told(object_server: ObjectServer, tmp_path: Path) -> None:
    with breaking(object_server.port) as proxy:
        store = store_in(object_server.bucket(endpoint=proxy.endpoint), tmp_path, cache_bytes=TINY_CACHE)
        stored = store.put(os.urandom(LARGE_BYTES))
        proxy.cut_after, proxy.cuts_left = CHUNK_BYTES // 4, 1000
        with pytest.raises(BlobStoreUnavailable):
            store.get(stored.sha256)


@pytest.mark.parametrize("damage", [flip, cut])
def test_damage_is_told_and_repaired_by_putting_again(store: S3Store, damage: Callable[[bytearray], object]) -> None:
    stored = store.put(TEXT)
    overwrite(store, stored.sha256, damage)
    for read in (store.get, store.verify, lambda name: list(store.chunks(name))):
        with pytest.raises(BlobCorrupt, match=stored.sha256):
            read(stored.sha256)
    assert store.put(TEXT) == stored
    assert store.get(stored.sha256) == TEXT


def test_an_object_that_was_cut_short_is_seen_without_reading_it(store: S3Store, tmp_path: Path) -> None:
    stored = store.put(TEXT)
    overwrite(store, stored.sha256, cut)
    other = store_in(store.bucket, tmp_path / "other")  # this one knows nothing of the first put
    other.put(TEXT)
    assert store.get(stored.sha256) == TEXT


def test_what_lies_in_the_bucket_besides_is_no_content(store: S3Store) -> None:
    stored = store.put(TEXT)
    for key in ("notes.txt", "ab/" + "x" * 64 + ".zst", stored.sha256 + ".zst", "00/" + stored.sha256 + ".zst"):
        raw(store.bucket).put_object(Bucket=store.bucket.name, Key=key, Body=b"something else")
    assert [each.sha256 for each in store.iterate()] == [stored.sha256]


def test_more_than_a_page_is_listed_and_deleted(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", 10)
    monkeypatch.setattr(s3deleting, "BATCH", 10)
    names = [store.put(bytes([number])).sha256 for number in range(25)]
    assert {each.sha256 for each in store.iterate()} == set(names)
    assert store.delete_many(names) == set(names)
    assert list(store.iterate()) == []


def test_an_old_content_put_again_is_young(store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.put(TEXT)
    before = next(store.iterate()).modified_at
    wait_for(lambda: datetime.now(UTC) - before > timedelta(seconds=2), "a later second")  # S3 counts in seconds
    other = store_in(store.bucket, tmp_path / "other")
    other.put(TEXT)
    assert next(store.iterate()).modified_at == before
    monkeypatch.setattr(s3, "REFRESH_AFTER_S", 0)
    other = store_in(store.bucket, tmp_path / "third")
    other.put(TEXT)
    assert next(store.iterate()).modified_at > before
    assert not store.delete(stored.sha256, unless_newer_than=before)


def test_whoever_puts_what_is_being_deleted_waits_and_puts_it_again(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that matters: the collector has judged the content old, then it is put, then the collector deletes it."""
    stored = store.put(TEXT)
    monkeypatch.setattr(s3, "REFRESH_AFTER_S", 0)  # it is as good as an hour old
    writer = Thread(target=store_in(store.bucket, tmp_path / "other").put, args=(TEXT,))
    written = Event()
    wait, judge = s3deleting.wait_for_deletions, s3deleting._is_old

    def waiting(*arguments: Any) -> bool:
        written.set()
        return wait(*arguments)

    def judged_then_written(*arguments: Any) -> bool:
        old = judge(*arguments)
        writer.start()
        assert written.wait(timeout=30)
        return old

    monkeypatch.setattr("runs.blobs.s3.wait_for_deletions", waiting)
    monkeypatch.setattr(s3deleting, "_is_old", judged_then_written)
    assert store.delete(stored.sha256)
    writer.join(timeout=30)
    assert not writer.is_alive()
    assert store.get(stored.sha256) == TEXT


def test_an_announcement_of_a_dead_process_is_ignored(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client = raw(store.bucket)
    client.put_object(Bucket=store.bucket.name, Key="deleting/left-behind", Body=b"")
    monkeypatch.setattr(s3deleting, "FORGOTTEN_AFTER_S", -60)
    assert not s3deleting.wait_for_deletions(client, store.bucket)
