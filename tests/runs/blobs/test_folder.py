"""What only the folder back end does; what every back end does is in test_stores."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runs.blobs import REFRESH_AFTER_S, BlobCorrupt, BlobStoreUnavailable, FolderStore

TEXT = b"The same text again and again. " * 1000


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "blobs")


def age(path: Path, by_s: float) -> None:
    before_s = time.time() - by_s
    os.utime(path, (before_s, before_s))


def test_an_empty_file_is_written_anew(store: FolderStore) -> None:
    path = store.path_of(store.put(TEXT).sha256)
    path.write_bytes(b"")
    assert store.get(store.put(TEXT).sha256) == TEXT


def test_a_file_that_is_no_frame_is_written_anew(store: FolderStore) -> None:
    path = store.path_of(store.put(TEXT).sha256)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert store.get(store.put(TEXT).sha256) == TEXT


def test_damage_is_repaired_by_the_next_put(store: FolderStore) -> None:
    stored = store.put(TEXT)
    path = store.path_of(stored.sha256)
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    with pytest.raises(BlobCorrupt):
        store.get(stored.sha256)
    assert store.put(TEXT) == stored
    assert store.get(stored.sha256) == TEXT


def test_a_content_put_again_after_an_hour_is_young(store: FolderStore) -> None:
    path = store.path_of(store.put(TEXT).sha256)
    age(path, REFRESH_AFTER_S + 60)
    started_s = time.time()
    store.put(TEXT)
    assert path.stat().st_mtime >= started_s - 1


def test_a_content_put_again_within_the_hour_is_left_alone(store: FolderStore) -> None:
    path = store.path_of(store.put(TEXT).sha256)
    age(path, REFRESH_AFTER_S - 600)
    before = path.stat()
    store.put(TEXT)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_a_stream_that_ends_with_an_error_leaves_nothing(store: FolderStore) -> None:
    def broken() -> object:
        yield TEXT
        raise ConnectionResetError("the other side hung up")

    with pytest.raises(ConnectionResetError):
        store.put_stream(broken())  # type: ignore[arg-type]
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_files_of_dead_writers_are_removed(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.put(TEXT)
    left_over = store.root / "put-abandoned"
    left_over.write_bytes(b"half of a con")
    assert [each.sha256 for each in store.iterate()] == [kept.sha256]
    assert left_over.exists()  # it may still be written
    monkeypatch.setattr("runs.blobs.folder.LEFT_OVER_AFTER_S", -60)
    assert [each.sha256 for each in store.iterate()] == [kept.sha256]
    assert not left_over.exists()
    assert store.get(kept.sha256) == TEXT


def test_a_folder_that_cannot_be_used_says_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file" / "blobs")
    for use in (store.check, lambda: store.put(TEXT), lambda: store.put_stream([TEXT])):
        with pytest.raises(BlobStoreUnavailable, match="RLMWEB_BLOB_DIR"):
            use()


def test_a_young_content_is_not_deleted(store: FolderStore) -> None:
    stored = store.put(TEXT)
    path = store.path_of(stored.sha256)
    age(path, 7200)
    before = datetime.fromtimestamp(time.time() - 3600, UTC)
    store.put(TEXT)
    assert not store.delete(stored.sha256, unless_newer_than=before)
    assert store.get(stored.sha256) == TEXT
    age(path, 7200)
    assert store.delete(stored.sha256, unless_newer_than=before)
    assert list(path.parent.iterdir()) == []


def test_what_was_put_is_forced_to_the_disk_when_it_is_settled(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[Path] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        forced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    paths = [store.path_of(store.put(bytes([number])).sha256) for number in range(3)]
    assert forced == []
    store.settle()
    assert set(forced) == {*paths, *(path.parent for path in paths), store.root}
    last_file = max(forced.index(path) for path in paths)
    assert all(forced.index(path.parent, last_file) > last_file for path in paths)  # a name after what it names
    forced.clear()
    store.settle()
    assert forced == []
    FolderStore(store.root).put(bytes([0]))
    again = FolderStore(store.root)  # as another process would
    again.put(bytes([0]))
    again.settle()
    assert paths[0] in forced


def test_what_could_not_be_forced_is_forced_later(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.path_of(store.put(TEXT).sha256)

    def failing(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        with pytest.raises(BlobStoreUnavailable, match="Input/output error"):
            store.settle()
    forced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: forced.append(os.readlink(f"/proc/self/fd/{handle}")))
    store.settle()
    assert str(path) in forced


def test_a_content_deleted_before_it_was_settled_is_no_error(store: FolderStore) -> None:
    store.delete(store.put(TEXT).sha256)
    store.settle()
