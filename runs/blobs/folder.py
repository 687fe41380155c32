"""The folder back end: `<root>/ab/abcdef....zst`.

Contents are immutable, so a write needs no lock: it goes to a temporary file and is renamed into place. `settle` forces
what was written to the disk. After a power cut there may be a broken file that the record does not name; putting its
content again finds that and repairs it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import zstandard

from runs.blobs.base import (
    CHUNK_BYTES,
    REFRESH_AFTER_S,
    BlobMissing,
    BlobStore,
    BlobStoreUnavailable,
    Kept,
    Source,
    Stored,
    pack,
    pack_into,
    require_name,
)
from runs.blobs.settling import Unsettled

LEFT_OVER_AFTER_S = 24 * 3600
"""Temporary files older than this belong to a process that died."""
SETTLED_AFTER_S = 120
"""The system writes by itself what nobody forced, in less than this."""


class FolderStore(BlobStore):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.absolute().as_uri()
        self._unsettled = Unsettled()

    def put(self, data: bytes) -> Stored:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path_of(sha256)
        with self._told():
            stored_bytes = self._refreshed(path, data)
            if stored_bytes is None:
                packed = pack(data)
                with self._written() as file:
                    file.write(packed)
                    self._place(file, path)
                stored_bytes = len(packed)
        return Stored(sha256, len(data), stored_bytes)

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        source = Source(chunks)
        with self._told(source), self._written() as file:
            sha256, size_bytes = pack_into(file, source)
            stored_bytes = file.tell()
            file.flush()
            os.fsync(file.fileno())  # a large one: whoever settles next should not wait for it
            self._place(file, self.path_of(sha256))
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

    def settle(self) -> None:
        with self._told():
            self._unsettled.settle()

    def check(self) -> None:
        with self._told(), self._written() as file:
            file.write(b"can this folder be written?")

    def _open_packed(self, sha256: str) -> io.BufferedReader:
        with self._told():
            try:
                return self.path_of(sha256).open("rb")
            except FileNotFoundError:
                raise BlobMissing(f"no content {sha256} in the blob store") from None

    def _damaged(self, sha256: str) -> None:
        """Nothing to note: `put` compares."""

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

    def _place(self, file: IO[bytes], path: Path) -> None:
        """Name what was written. It is whole for every process now, and on the disk when it is settled."""
        file.flush()
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._unsettled.add(path.parent)
        os.replace(file.name, path)
        self._unsettled.add(path)

    def _refreshed(self, path: Path, data: bytes) -> int | None:
        """The size of the file, which is young now; None when there is none, or one that does not hold `data`."""
        try:
            if not _holds(path, data):
                return None
            found = path.stat()
            age_s = time.time() - found.st_mtime
            if age_s > REFRESH_AFTER_S:
                os.utime(path)
        except FileNotFoundError:
            return None
        if age_s < SETTLED_AFTER_S:
            self._unsettled.add(path)  # another process wrote it, and may not have settled it yet
        return found.st_size

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


def _holds(path: Path, data: bytes) -> bool:
    """Does this file hold just that? Reading it costs less than packing `data` again would."""
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as content:
            view = memoryview(data)
            while chunk := content.read(CHUNK_BYTES):
                if chunk != view[: len(chunk)]:
                    return False
                view = view[len(chunk) :]
            return not view
    except zstandard.ZstdError:
        return False
