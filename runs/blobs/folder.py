"""The folder back end: `<root>/ab/abcdef....zst`.

Contents are immutable, so a write needs no lock: it goes to a temporary file, is forced to the disk and renamed into
place. Under a hash there is the whole content or nothing, also after a power cut.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from runs.blobs.base import (
    LONGEST_HEADER_BYTES,
    REFRESH_AFTER_S,
    BlobMissing,
    BlobStore,
    BlobStoreUnavailable,
    Kept,
    Source,
    Stored,
    looks_sound,
    pack,
    pack_into,
    require_name,
)

LEFT_OVER_AFTER_S = 24 * 3600
"""Temporary files older than this belong to a process that died."""
DAMAGED_AT_S = 0
"""The modification time of a content that was found damaged: whoever puts it again writes it anew."""


class FolderStore(BlobStore):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.absolute().as_uri()

    def put(self, data: bytes) -> Stored:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path_of(sha256)
        with self._told():
            stored_bytes = _refreshed(path, len(data))
            if stored_bytes is None:
                packed = pack(data)
                with self._written() as file:
                    file.write(packed)
                    _place(file, path)
                stored_bytes = len(packed)
        return Stored(sha256, len(data), stored_bytes)

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        source = Source(chunks)
        with self._told(source), self._written() as file:
            sha256, size_bytes = pack_into(file, source)
            stored_bytes = file.tell()
            _place(file, self.path_of(sha256))
        return Stored(sha256, size_bytes, stored_bytes)

    def has(self, sha256: str) -> bool:
        with self._told():
            return self.path_of(sha256).is_file()

    def iterate(self) -> Iterator[Kept]:
        if not self.root.is_dir():
            return
        self._remove_left_overs()
        for folder in sorted(each for each in self.root.iterdir() if each.is_dir()):
            for path in folder.glob("*.zst"):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                yield Kept(path.stem, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, sha256: str, *, unless_newer_than: datetime | None = None) -> bool:
        """The file is moved aside before its age is looked at, so that whoever puts the content at the same moment
        either made the file young, which brings it back, or finds no file and writes it anew.
        """
        path = self.path_of(sha256)
        aside = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.gone")
        with self._told():
            try:
                path.rename(aside)
            except FileNotFoundError:
                return False
            if unless_newer_than is not None and aside.stat().st_mtime > unless_newer_than.timestamp():
                os.replace(aside, path)
                return False
            aside.unlink()
        return True

    def check(self) -> None:
        with self._told(), self._written() as file:
            file.write(b"can this folder be written?")

    def _open_packed(self, sha256: str) -> IO[bytes]:
        with self._told():
            try:
                return self.path_of(sha256).open("rb")
            except FileNotFoundError:
                raise BlobMissing(f"no content {sha256} in the blob store") from None

    def _damaged(self, sha256: str) -> None:
        with suppress(OSError):  # gone meanwhile, or not ours to write: reading it again says the same
            os.utime(self.path_of(sha256), (DAMAGED_AT_S, DAMAGED_AT_S))

    def path_of(self, sha256: str) -> Path:
        return self.root / sha256[:2] / f"{require_name(sha256)}.zst"

    @contextmanager
    def _written(self) -> Iterator[IO[bytes]]:
        """A temporary file, which is gone afterwards unless it was put in its place."""
        self.root.mkdir(parents=True, exist_ok=True)
        # Not deleted on closing: by then it may have its place.
        with tempfile.NamedTemporaryFile(prefix="put-", dir=self.root, delete=False) as file:
            try:
                yield cast("IO[bytes]", file)
            finally:
                Path(file.name).unlink(missing_ok=True)

    def _remove_left_overs(self) -> None:
        before_s = time.time() - LEFT_OVER_AFTER_S
        for path in (*self.root.glob("put-*"), *self.root.glob("*/put-*"), *self.root.glob("*/*.gone")):
            with suppress(FileNotFoundError):
                if path.stat().st_ctime < before_s:
                    path.unlink()

    @contextmanager
    def _told(self, source: Source | None = None) -> Iterator[None]:
        """An error of the folder as one of the store. What `source` itself raised is its reader's business."""
        try:
            yield
        except OSError as error:
            if source is not None and error is source.error:
                raise
            raise BlobStoreUnavailable(
                f"The blob folder {self.root} cannot be used: {error.strerror or error}.",
                "Look at its disk space and its owner (RLMWEB_BLOB_DIR, RLMWEB_BLOB_STORE_URL).",
            ) from error


def _place(file: IO[bytes], path: Path) -> None:
    """Name what was written. The record may name a content from now on, so it has to be on the disk with its name."""
    file.flush()
    os.fsync(file.fileno())
    new = not path.parent.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(file.name, path)
    _force_folder(path.parent)
    if new:
        _force_folder(path.parent.parent)


def _force_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refreshed(path: Path, size_bytes: int) -> int | None:
    """The size of the file, which is young now; None when there is none, or one that is seen to be damaged."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mtime == DAMAGED_AT_S or not looks_sound(file.read(LONGEST_HEADER_BYTES), size_bytes):
                return None
        if time.time() - found.st_mtime > REFRESH_AFTER_S:
            os.utime(path)
    except FileNotFoundError:
        return None
    return found.st_size
