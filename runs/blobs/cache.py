"""Packed contents of an object store that this machine read or wrote lately, in a folder bounded in bytes.

Processes share the folder without a lock: files are renamed into place and never changed, a reader keeps what it has
opened, and only one process at a time makes room. A content here proves nothing about the store behind it.
"""

from __future__ import annotations

import fcntl
import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from runs.blobs.base import BlobStoreUnavailable

ROOM_SHARE = 0.9
"""Making room goes down to this share of the limit, so that the next content does not need room again."""
LOOK_SHARE = 0.05
"""The folder is measured again when this process has added this share of the limit."""
LARGEST_SHARE = 0.25
"""A content larger than this share would push out all others, and is not kept."""
ABANDONED_AFTER_S = 3600


class DiskCache:
    """At most `max_bytes`, and what each process adds between two looks (5 % of it)."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._added_bytes = max_bytes  # nobody has looked yet

    def takes(self, size_bytes: int) -> bool:
        return 0 < size_bytes <= self.max_bytes * LARGEST_SHARE

    def open(self, sha256: str) -> io.BufferedReader | None:
        """The packed content, which counts as used now; None when it is not here."""
        path = self._path(sha256)
        try:
            file = path.open("rb")
        except OSError:
            return None  # the store behind has it
        with suppress(OSError):
            now_ns = time.time_ns()
            os.utime(path, ns=(now_ns, now_ns))  # mounted with noatime, reading would leave no trace
        return file

    @contextmanager
    def written(self) -> Iterator[IO[bytes]]:
        """A temporary file on this disk, gone afterwards unless it was kept."""
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.NamedTemporaryFile(prefix="put-", dir=self.folder, delete=False)  # noqa: SIM115 - below
        with file:
            try:
                yield cast("IO[bytes]", file)
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, sha256: str, file: IO[bytes]) -> None:
        """Give the content of `file`, made by `written`, its place. Not forced to the disk: every read is checked."""
        file.flush()
        size_bytes = os.fstat(file.fileno()).st_size
        if not self.takes(size_bytes):
            return
        with self._told():
            path = self._path(sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file.name, path)
        with self._lock:
            self._added_bytes += size_bytes
            due = self._added_bytes > self.max_bytes * LOOK_SHARE
            if due:
                self._added_bytes = 0
        if due:
            self._make_room()

    def add(self, sha256: str, packed: bytes) -> None:
        if self.takes(len(packed)):
            with self.written() as file:
                file.write(packed)
                self.keep(sha256, file)

    def drop(self, sha256: str) -> None:
        with suppress(OSError):
            self._path(sha256).unlink()

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.zst"

    def _make_room(self) -> None:
        """Remove what was used longest ago, until the rest fits."""
        with (self.folder / "room.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process does it now
            self._remove_abandoned()
            found = sorted(self._measured())
            size_bytes = sum(size for _, size, _ in found)
            if size_bytes <= self.max_bytes:
                return
            for _, size, path in found:
                if size_bytes <= self.max_bytes * ROOM_SHARE:
                    return
                path.unlink(missing_ok=True)
                size_bytes -= size

    def _measured(self) -> Iterator[tuple[int, int, Path]]:
        for path in self.folder.glob("*/*.zst"):
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime_ns, found.st_size, path

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob("put-*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - ABANDONED_AFTER_S:
                    path.unlink()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BlobStoreUnavailable(
                f"The folder {self.folder} for copies of contents cannot be used: {error.strerror or error}.",
                "Look at its disk space and its owner (RLMWEB_BLOB_CACHE_DIR).",
            ) from error
