"""Writing an archive as a stream of bytes. Memory stays the same however long the session and however large its context."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

import msgspec
import zstandard
from django.conf import settings
from django.utils import timezone

from runs.blobs import CHUNK_BYTES, BlobError, blob_store
from runs.models import Session
from runs.replay.archive import format as form
from runs.replay.archive.errors import CannotExport
from runs.replay.archive.rows import About, Checksums, MemberSum
from runs.replay.archive.spooling import Options, Spooled, spool
from runs.replay.archive.workplace import work_folder

IN_MEMORY_BYTES = 4 * 1024 * 1024
LEVEL = 3
README = """\
A session of rlmweb, exported on {created:%Y-%m-%d %H:%M} UTC{installation}.

Title:   {title}
Session: {uuid}

Import it with "manage.py import_session FILE", or on the page Sessions, Import.
Every installation of rlmweb that reads version {version} of this format can show it, look into its
snapshots, execute it again and fork it.

archive.json      format, version, what was left out
session.json      the question, the configuration (without keys), the outcome
contexts.jsonl    the text that the session works on
nodes.jsonl       the calls of the tree
steps.jsonl       their turns
messages.jsonl    their conversations
calls.jsonl       calls of language models, with the replies
snapshots.jsonl   states of the sandboxes at the end of steps
events.jsonl      the event log: what the run page shows
blobs/            contents, named by their SHA-256, compressed with zstd
checksums.json    SHA-256 of every member

Snapshots hold pickles: code of whoever made the session. Open them in a sandbox only, as rlmweb does.
"""


def archive_name(session: Session) -> str:
    return f"session-{session.uuid}{form.SUFFIX}"


def write_archive(session: Session, options: Options, *, installation: str = "") -> Iterator[bytes]:
    """The bytes of the archive, piece by piece. Close the iterator when it is not read to its end.

    The record is read when the first piece is asked for, all at one moment; contents never change. Raises
    `CannotExport`, also in the middle: what was written until then has no checksums and no reader takes it.
    """
    with work_folder("export") as folder:
        spooled = spool(session, options, folder)
        yield from _Writer(spooled, installation[:200]).chunks()


class _Writer:
    def __init__(self, spooled: Spooled, installation: str) -> None:
        self._spooled = spooled
        self._about = About(
            format=form.FORMAT,
            version=form.VERSION,
            rlmweb=_release(),
            created_at=timezone.now(),
            installation=installation,
            with_context=spooled.options.context,
            with_snapshots=spooled.options.with_snapshots,
            counts={**spooled.counts, "blobs": len(spooled.contents)},
            snapshots_left_out=spooled.snapshots_left_out,
            removed=spooled.removed,
        )
        self._sums: list[MemberSum] = []

    def chunks(self) -> Iterator[bytes]:
        yield from self._document(form.README, self._readme())
        yield from self._document(form.ABOUT, _pretty(self._about))
        yield from self._document(form.SESSION, _pretty(self._spooled.session))
        for table in form.TABLES:
            path = self._spooled.folder / table
            with path.open("rb") as file:
                yield from self._member(table, file, path.stat().st_size)
        for sha256 in sorted(self._spooled.contents):
            yield from self._content(sha256)
        yield from self._document(form.CHECKSUMS, checksums(self._sums))
        yield b"\0" * form.END_BYTES

    def _readme(self) -> bytes:
        session, about = self._spooled.session, self._about
        return README.format(
            created=about.created_at,
            installation=f" from {about.installation}" if about.installation else "",
            title=session.title,
            uuid=session.uuid,
            version=form.VERSION,
        ).encode()

    def _document(self, name: str, data: bytes) -> Iterator[bytes]:
        self._sums.append(MemberSum(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
        yield form.header(name, len(data)) + data + form.padding(len(data))

    def _member(self, name: str, file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
        if size_bytes > form.MAX_MEMBER_BYTES:
            raise CannotExport(f"{name} has {size_bytes:,} bytes; a member has at most {form.MAX_MEMBER_BYTES:,}.")
        yield form.header(name, size_bytes)
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
        if size_bytes % form.BLOCK_BYTES:
            yield form.padding(size_bytes)
        self._sums.append(MemberSum(name=name, size_bytes=size_bytes, sha256=digest.hexdigest()))

    def _content(self, sha256: str) -> Iterator[bytes]:
        """Compressed to a file first: the size stands before the member. Small ones stay in memory."""
        with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=str(self._spooled.folder)) as file:
            _compress(sha256, file)
            size_bytes = file.tell()
            file.seek(0)
            yield from self._member(form.content_name(sha256), file, size_bytes)


def checksums(sums: list[MemberSum]) -> bytes:
    """The document as every writer writes it. A reader compares it byte for byte with what it finds itself."""
    return _pretty(Checksums(list_sha256=list_sha256(sums), members=sums))


def list_sha256(sums: list[MemberSum]) -> str:
    digest = hashlib.sha256()
    for each in sums:
        digest.update(form.checksum_line(each.name, each.sha256))
    return digest.hexdigest()


@cache
def _release() -> str:
    project = tomllib.loads((Path(settings.ROOT_DIR) / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _compress(sha256: str, file: IO[bytes]) -> None:
    digest = hashlib.sha256()
    packer = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    try:
        for chunk in blob_store().chunks(sha256):
            digest.update(chunk)
            file.write(packer.compress(chunk))
    except (BlobError, zstandard.ZstdError) as error:
        raise CannotExport(f"A content that the session needs cannot be read: {error}") from error
    file.write(packer.flush())
    if digest.hexdigest() != sha256:
        raise CannotExport(f"The content {sha256} was changed in the store; the session's record is not whole.")


def _pretty(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
