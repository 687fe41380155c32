"""Reading an archive from a file: its members where they are, every byte of it accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import msgspec
import zstandard

from runs.blobs import CHUNK_BYTES
from runs.replay.archive import format as form
from runs.replay.archive.errors import ArchiveDamaged, ArchiveTooLarge, ArchiveVersionError, ContentMissing
from runs.replay.archive.rows import MemberSum
from runs.replay.archive.writing import checksums, list_sha256

MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""What a compressed content may ask of the reader's memory."""

Tick = Callable[[], None]
"""Called often while something long goes on; raises to end it."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    offset: int
    size_bytes: int


@dataclass(slots=True)
class Archive:
    """An archive whose bytes are those that were written. What they say is not checked yet."""

    file: IO[bytes]
    limits: form.Limits
    digest: str = ""
    """Identifies the archive: the hash of its list of members."""
    members: dict[str, Member] = field(default_factory=dict)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.file.close()

    @property
    def contents(self) -> list[str]:
        """Hashes of the contents, in order."""
        return [sha256 for name in self.members if (sha256 := form.content_of(name)) is not None]

    def document(self, name: str) -> bytes:
        member = self.members[name]
        if member.size_bytes > self.limits.document_bytes:
            raise ArchiveTooLarge(
                f"{name} has {member.size_bytes:,} bytes; at most {self.limits.document_bytes:,} are read."
            )
        return b"".join(self._chunks(member))

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a table. Other members may be read in between."""
        member = self.members[name]
        place, end, most = member.offset, member.offset + member.size_bytes, self.limits.line_bytes
        count = 0
        while place < end:
            self.file.seek(place)
            line = self.file.readline(min(most + 1, end - place))
            count += 1
            if len(line) > most:
                raise ArchiveTooLarge(f"{name}: line {count} has more than {most:,} bytes.")
            if count > self.limits.rows:
                raise ArchiveTooLarge(f"{name} has more than {self.limits.rows:,} lines.")
            if not line.endswith(b"\n"):
                raise ArchiveDamaged(f"{name}: the last line has no end.")
            place += len(line)
            yield line

    def content(self, sha256: str) -> Iterator[bytes]:
        """The content, piece by piece, and nothing that its hash does not vouch for once it is read to the end.

        Raises `ArchiveDamaged` at the end for another content, `ArchiveTooLarge` as soon as it is over the limit.
        """
        member = self.members.get(form.content_name(sha256))
        if member is None:
            raise ContentMissing(f"The archive names the content {sha256} and does not hold it.")
        digest, size_bytes = hashlib.sha256(), 0
        unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        try:
            with unpacker.stream_reader(cast("IO[bytes]", _Section(self.file, member))) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    if size_bytes > self.limits.content_bytes:
                        raise ArchiveTooLarge(
                            f"The content {sha256} has more than {self.limits.content_bytes:,} bytes."
                        )
                    yield chunk
        except zstandard.ZstdError as error:
            raise ArchiveDamaged(f"The content {sha256} cannot be unpacked: {error}.") from error
        if digest.hexdigest() != sha256:
            raise ArchiveDamaged(f"The content {sha256} has the hash {digest.hexdigest()}.")

    def _chunks(self, member: Member) -> Iterator[bytes]:
        section = _Section(self.file, member)
        while chunk := section.read(CHUNK_BYTES):
            yield chunk


class _Section:
    """One member as a file. It keeps its own place, so that others may read from the archive in between."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        self._file = file
        self._place = member.offset
        self._end = member.offset + member.size_bytes

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._place
        self._file.seek(self._place)
        data = self._file.read(left if size < 0 else min(size, left))
        self._place += len(data)
        return data


def open_archive(path: Path, limits: form.Limits = form.LIMITS, tick: Tick = lambda: None) -> Archive:
    """Look at every byte of the file. Raises `ArchiveDamaged` or `ArchiveTooLarge`, `OSError` when it cannot be read."""
    size_bytes = path.stat().st_size
    if size_bytes > limits.archive_bytes:
        raise ArchiveTooLarge(f"The archive has {size_bytes:,} bytes; at most {limits.archive_bytes:,} are read.")
    file = path.open("rb")
    try:
        archive = Archive(file, limits)
        _Scan(archive, tick).run()
    except BaseException:
        file.close()
        raise
    return archive


class _Version(msgspec.Struct):
    format: str
    version: int


def require_version(about: bytes) -> None:
    """Asked first: the rest may be written in any way in another version. Raises `ArchiveVersionError`."""
    try:
        found = msgspec.json.decode(about, type=_Version)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(f"{form.ABOUT} says no version: {error}.") from error
    if (found.format, found.version) != (form.FORMAT, form.VERSION):
        raise ArchiveVersionError(
            f"The archive is {found.format[:40]!r}, version {found.version}; this release reads"
            f" {form.FORMAT!r}, version {form.VERSION}."
        )


class _Scan:
    """One pass over the file. The order of the members is fixed, so none can be there twice or stand for another."""

    def __init__(self, archive: Archive, tick: Tick) -> None:
        self._file = archive.file
        self._archive = archive
        self._tick = tick
        self._sums: list[MemberSum] = []
        self._last = ""

    def run(self) -> None:
        for expected in form.HEAD:
            name, size_bytes = self._header()
            if name != expected:
                raise ArchiveDamaged(f"{expected} should come here, not {name!r}: this is no archive of a session.")
            self._member(name, size_bytes)
            if name == form.ABOUT:
                require_version(self._archive.document(form.ABOUT))
                self._file.seek(self._after())
        while True:
            name, size_bytes = self._header()
            if name == form.CHECKSUMS:
                break
            self._require_content(name)
            self._member(name, size_bytes)
        self._finish(name, size_bytes)

    def _after(self) -> int:
        """Where the member after `ABOUT` begins."""
        about = self._archive.members[form.ABOUT]
        return about.offset + about.size_bytes + len(form.padding(about.size_bytes))

    def _header(self) -> tuple[str, int]:
        block = self._read(form.BLOCK_BYTES)
        try:
            name = block[:100].rstrip(b"\0").decode("ascii")
            size_bytes = int(block[124:135], 8)
        except (UnicodeDecodeError, ValueError):
            raise ArchiveDamaged(f"At byte {self._at()} no member begins: this is no archive of a session.") from None
        if size_bytes < 0 or block != form.header(name, size_bytes):
            raise ArchiveDamaged(f"The header of the member {name[:100]!r} is not as it is written.")
        return name, size_bytes

    def _require_content(self, name: str) -> None:
        """Contents stand in the order of their names, each once."""
        sha256 = form.content_of(name)
        if sha256 is None:
            raise ArchiveDamaged(f"The archive has a member {name!r}, which has no meaning.")
        if name <= self._last:
            raise ArchiveDamaged(f"The member {name} is there twice, or in the wrong place.")
        self._last = name
        if len(self._archive.members) - len(form.HEAD) >= self._archive.limits.contents:
            raise ArchiveTooLarge(f"The archive has more than {self._archive.limits.contents:,} contents.")

    def _member(self, name: str, size_bytes: int) -> None:
        self._archive.members[name] = Member(name, self._file.tell(), size_bytes)
        digest, left = hashlib.sha256(), size_bytes
        while left:
            chunk = self._read(min(left, CHUNK_BYTES))
            digest.update(chunk)
            left -= len(chunk)
            self._tick()
        if self._read(-size_bytes % form.BLOCK_BYTES).strip(b"\0"):
            raise ArchiveDamaged(f"There are bytes between {name} and the member after it.")
        self._sums.append(MemberSum(name=name, size_bytes=size_bytes, sha256=digest.hexdigest()))

    def _finish(self, name: str, size_bytes: int) -> None:
        """The list of checksums is compared as a whole: there is one way to write it."""
        expected = checksums(self._sums)
        if size_bytes != len(expected) or self._read(size_bytes) != expected:
            raise ArchiveDamaged(f"{name} does not agree with the members: the archive was changed, or copied badly.")
        rest = form.padding(size_bytes) + b"\0" * form.END_BYTES
        if self._read(len(rest)) != rest or self._file.read(1):
            raise ArchiveDamaged("The archive goes on behind its end.")
        self._archive.digest = list_sha256(self._sums)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise ArchiveDamaged(
                f"The archive ends at byte {self._at()}, in the middle: it was not written to its end."
            )
        return data

    def _at(self) -> str:
        return f"{self._file.tell():,}"
