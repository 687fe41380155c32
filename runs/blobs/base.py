"""What every back end of the blob store does, and how it fails.

    BlobError
    ├── BlobMissing           there is no content of this hash
    ├── BlobCorrupt           what is stored under this hash is not the content of this hash
    └── BlobStoreUnavailable  the store could not be asked; `way_out` says what to do

A content is stored as one zstd frame under the SHA-256 of what is in it. A back end only keeps frames; packing, hashing
and checking are here, so that no back end can hand out what does not have the hash that was asked for.
"""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import zstandard

CHUNK_BYTES = 1024 * 1024
ONE_PIECE_BYTES = 4 * 1024 * 1024
"""A content that is no larger is unpacked at once, which takes half the time."""
FRAME_HEADER_BYTES = 18
"""The longest that the header of a zstd frame can be (RFC 8878, section 3.1.1.1)."""
REFRESH_AFTER_S = 3600
"""A content that is put again looks as if it had been written now, if it is older than this: nobody collects it as old."""
_SHA256_DIGITS = frozenset("0123456789abcdef")


class BlobError(Exception):
    """The blob store could not do what was asked."""


class BlobMissing(BlobError):
    """There is no content of this hash in the store."""


class BlobCorrupt(BlobError):
    """What is stored under this hash is not the content of this hash."""


class BlobStoreUnavailable(BlobError):
    """The store itself could not be asked. Nothing is known about the content; it may help to try again."""

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(f"{message} {way_out}".rstrip())
        self.way_out = way_out


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


class BlobStore(ABC):
    """Contents by their SHA-256, compressed, written once. Safe between threads and between processes."""

    url: str
    """Where it is, without any secret."""

    @abstractmethod
    def put(self, data: bytes) -> Stored:
        """Store a content, or repair the one that is there and seen to be damaged."""

    @abstractmethod
    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        """Store a content of any size in constant memory."""

    @abstractmethod
    def has(self, sha256: str) -> bool:
        """Is there a content of this hash, as far as can be told without reading it?"""

    @abstractmethod
    def iterate(self) -> Iterator[Kept]:
        """Every content in the store, in no order; those that come or go meanwhile may be left out."""

    @abstractmethod
    def delete(self, sha256: str, *, unless_newer_than: datetime | None = None) -> bool:
        """Remove a content; False when there is none, or when it was put (again) since `unless_newer_than`."""

    def delete_many(self, names: Collection[str], *, unless_newer_than: datetime | None = None) -> set[str]:
        """Like `delete` of each; returns those that were removed."""
        return {each for each in names if self.delete(each, unless_newer_than=unless_newer_than)}

    @abstractmethod
    def settle(self) -> None:
        """What was put until now, in this process, survives a power cut. Called before the record names it."""

    @abstractmethod
    def check(self) -> None:
        """Can it be read and written now? Raises `BlobStoreUnavailable`, which says what to do."""

    @abstractmethod
    def _open_packed(self, sha256: str) -> io.BufferedReader:
        """The frame as it is stored. Raises `BlobMissing`."""

    @abstractmethod
    def _damaged(self, sha256: str) -> None:
        """Somebody read this content and found it damaged. A store whose `put` would not see that notes it."""

    def open(self, sha256: str) -> IO[bytes]:
        """A stream of the content, checked against its hash where it ends. Raises `BlobMissing`; reading from it raises
        `BlobCorrupt`."""
        return io.BufferedReader(_Checked(self, sha256, self._open_packed(require_name(sha256))), CHUNK_BYTES)

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The content from its beginning; its last bytes only once the whole is seen to have its hash."""
        packed = self._open_packed(require_name(sha256))
        if _is_small(packed):
            with packed:
                content = self._unpacked(sha256, packed.read(2 * ONE_PIECE_BYTES))
            if content:
                yield content
            return
        with io.BufferedReader(_Checked(self, sha256, packed), CHUNK_BYTES) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def _unpacked(self, sha256: str, packed: bytes) -> bytes:
        try:
            content = zstandard.ZstdDecompressor().decompress(packed)
        except zstandard.ZstdError as error:
            self._damaged(sha256)
            raise BlobCorrupt(f"content {sha256} cannot be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            self._damaged(sha256)
            raise BlobCorrupt(f"content {sha256} has the hash {found}")
        return content

    def get(self, sha256: str) -> bytes:
        return b"".join(self.chunks(sha256))

    def text(self, sha256: str) -> str:
        return self.get(sha256).decode()

    def slice(self, sha256: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`. Skips by decompressing: memory stays constant, time grows with the offset.

        What is not read to its end is not checked: this is for pages that show a part of a text.
        """
        with self.open(sha256) as stream:
            while offset > 0:
                skipped = len(stream.read(min(offset, CHUNK_BYTES)))
                if not skipped:
                    return b""
                offset -= skipped
            return stream.read(length)

    def verify(self, sha256: str) -> None:
        """Raises `BlobCorrupt` when the stored bytes are not those of the name."""
        for _ in self.chunks(sha256):
            pass

    def copy_to(self, sha256: str, target: Path) -> None:
        """Write the content to a file of the host, e.g. to hand it to a sandbox."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as file:
                for chunk in self.chunks(sha256):
                    file.write(chunk)
        except BaseException:
            target.unlink(missing_ok=True)  # a part of a content is not the content
            raise


class _Checked(io.RawIOBase):
    """The content of a frame, whose last bytes are given only when the whole has its hash."""

    def __init__(self, store: BlobStore, sha256: str, packed: IO[bytes]) -> None:
        self._store = store
        self._sha256 = sha256
        self._packed = packed
        self._content = zstandard.ZstdDecompressor().stream_reader(packed, closefd=False)
        self._digest = hashlib.sha256()
        self._ahead = b""
        self._checked = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if not self._ahead and not self._checked:
            self._ahead = self._next()
        size = min(len(view), len(self._ahead))
        given, rest = self._ahead[:size], self._ahead[size:]
        if given and not rest and not self._checked:
            rest = self._next()  # raises in place of giving the last bytes of what is damaged
        view[:size], self._ahead = given, rest
        return size

    def _next(self) -> bytes:
        try:
            chunk: bytes = self._content.read(CHUNK_BYTES)
        except zstandard.ZstdError as error:
            self._store._damaged(self._sha256)
            raise BlobCorrupt(f"content {self._sha256} cannot be read: {error}") from error
        self._digest.update(chunk)
        if not chunk:
            self._checked = True
            if self._digest.hexdigest() != self._sha256:
                self._store._damaged(self._sha256)
                raise BlobCorrupt(f"content {self._sha256} has the hash {self._digest.hexdigest()}")
        return chunk

    def close(self) -> None:
        if not self.closed:
            self._content.close()  # type: ignore[no-untyped-call]
            self._packed.close()
        super().close()


class Source:
    """Chunks that somebody else brings, and the error with which they ended, if they did."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except BaseException as error:
            self.error = error
            raise


def _is_small(packed: io.BufferedReader) -> bool:
    """Whether the frame says that its content may be unpacked at once."""
    head = packed.peek(FRAME_HEADER_BYTES)[:FRAME_HEADER_BYTES]
    try:
        return 0 <= zstandard.frame_content_size(head) <= ONE_PIECE_BYTES
    except zstandard.ZstdError:
        return False  # whoever reads it on will say what is wrong


def require_name(sha256: str) -> str:
    """Every name goes through here before it becomes a path or a key. Raises `BlobMissing`."""
    if len(sha256) != 64 or not _SHA256_DIGITS.issuperset(sha256):
        raise BlobMissing(f"{sha256[:80]!r} is not a SHA-256 in lower-case hexadecimal")
    return sha256


def pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def pack_into(file: IO[bytes], chunks: Iterable[bytes]) -> tuple[str, int]:
    """Write the frame of a content to `file`; its hash and its size."""
    digest, size_bytes = hashlib.sha256(), 0
    packer = zstandard.ZstdCompressor(level=1)
    with packer.stream_writer(file, closefd=False) as writer:
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += len(chunk)
            writer.write(chunk)
    return digest.hexdigest(), size_bytes
