"""The content-addressed store: bytes named by their SHA-256, compressed with zstd, written once.

A folder is the default; object storage is another `BlobStore` behind the same methods. Contents are immutable, so a
write needs no lock: it goes to a temporary file and is renamed into place. Reading checks nothing it did not write
itself; `verify` does.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO

import zstandard

CHUNK_BYTES = 1024 * 1024
REFRESH_AFTER_S = 3600
"""A content that is put again looks as if it had been written now, if it is older than this: nobody collects it as old."""
_SHA256_DIGITS = frozenset("0123456789abcdef")


class BlobError(Exception):
    """The blob store could not do what was asked."""


class BlobMissing(BlobError):
    """There is no content of this hash in the store."""


class BlobCorrupt(BlobError):
    """What is stored under this hash is not the content of this hash."""


@dataclass(frozen=True, slots=True)
class Stored:
    sha256: str
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One content as it lies in the store."""

    sha256: str
    stored_bytes: int
    modified_at: datetime


class BlobStore:
    """The folder back end: `<root>/ab/abcdef....zst`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> Stored:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        stored_bytes = _refreshed(path)
        if stored_bytes is None:
            packed = zstandard.ZstdCompressor(level=1).compress(data)
            self._write(path, packed)
            stored_bytes = len(packed)
        return Stored(sha256, len(data), stored_bytes)

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        """Store a content of any size in constant memory."""
        self.root.mkdir(parents=True, exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        handle, temporary = tempfile.mkstemp(prefix="put-", dir=self.root)
        try:
            with (
                os.fdopen(handle, "wb") as file,
                zstandard.ZstdCompressor(level=1).stream_writer(file) as writer,
            ):
                for chunk in chunks:
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    writer.write(chunk)
            path = self._path(digest.hexdigest())
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return Stored(digest.hexdigest(), size_bytes, path.stat().st_size)

    def open(self, sha256: str) -> IO[bytes]:
        """A stream of the content. Raises `BlobMissing`."""
        try:
            file = self._path(sha256).open("rb")
        except FileNotFoundError:
            raise BlobMissing(f"no content {sha256} in the blob store") from None
        return zstandard.ZstdDecompressor().stream_reader(file, closefd=True)

    def chunks(self, sha256: str) -> Iterator[bytes]:
        with self.open(sha256) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def get(self, sha256: str) -> bytes:
        return b"".join(self.chunks(sha256))

    def text(self, sha256: str) -> str:
        return self.get(sha256).decode()

    def slice(self, sha256: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`. Skips by decompressing: memory stays constant, time grows with the offset."""
        with self.open(sha256) as stream:
            while offset > 0:
                skipped = len(stream.read(min(offset, CHUNK_BYTES)))
                if not skipped:
                    return b""
                offset -= skipped
            return stream.read(length)

    def verify(self, sha256: str) -> None:
        """Raises `BlobCorrupt` when the stored bytes are not those of the name."""
        digest = hashlib.sha256()
        try:
            for chunk in self.chunks(sha256):
                digest.update(chunk)
        except zstandard.ZstdError as error:
            raise BlobCorrupt(f"content {sha256} cannot be read: {error}") from error
        if digest.hexdigest() != sha256:
            raise BlobCorrupt(f"content {sha256} has the hash {digest.hexdigest()}")

    def copy_to(self, sha256: str, target: Path) -> None:
        """Write the content to a file of the host, e.g. to hand it to a sandbox."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for chunk in self.chunks(sha256):
                file.write(chunk)

    def iterate(self) -> Iterator[Kept]:
        """Every content in the store, in no order; those that come or go meanwhile may be left out."""
        if not self.root.is_dir():
            return
        for folder in sorted(each for each in self.root.iterdir() if each.is_dir()):
            for path in folder.glob("*.zst"):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                yield Kept(path.stem, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, sha256: str, *, unless_newer_than: datetime | None = None) -> bool:
        """Remove a content; False when there is none, or when it was put (again) since `unless_newer_than`.

        The file is moved aside before its age is looked at, so that whoever puts the content at the same moment either
        made the file young, which brings it back, or finds no file and writes it anew.
        """
        path = self._path(sha256)
        aside = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.gone")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if unless_newer_than is not None and aside.stat().st_mtime > unless_newer_than.timestamp():
            os.replace(aside, path)
            return False
        aside.unlink()
        return True

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not _SHA256_DIGITS.issuperset(sha256):
            raise BlobMissing(f"{sha256[:80]!r} is not a SHA-256 in lower-case hexadecimal")
        return self.root / sha256[:2] / f"{sha256}.zst"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix="put-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)


def _refreshed(path: Path) -> int | None:
    """The size of the file, which is young now; None when there is none."""
    try:
        found = path.stat()
        if time.time() - found.st_mtime > REFRESH_AFTER_S:
            os.utime(path)
    except FileNotFoundError:
        return None
    return found.st_size


@lru_cache(maxsize=4)
def _store_at(root: Path) -> BlobStore:
    return BlobStore(root)


def blob_store() -> BlobStore:
    """The installation's store."""
    from django.conf import settings

    return _store_at(Path(settings.BLOB_DIR))
