"""Is an archive sound? Everything is looked at before anything of it is stored."""

from __future__ import annotations

from runs.replay.archive.contents import SnapshotContents
from runs.replay.archive.errors import ArchiveInvalid, ArchiveTooLarge, ContentMissing
from runs.replay.archive.reading import Archive, Tick
from runs.replay.archive.tables import Tables
from sandboxes.manifest import ManifestError


def check_archive(archive: Archive, tick: Tick = lambda: None) -> Tables:
    """Raises `ArchiveError`. Afterwards the archive holds all that it names, each content is what its name says, and
    there is nothing else in it."""
    tables = Tables(archive, tick)
    named = tables.named | _of_snapshots(archive, tables)
    held = set(archive.contents)
    if missing := named - held:
        raise ContentMissing(f"The archive names {len(missing)} contents that it does not hold, {min(missing)} first.")
    if extra := held - named:
        raise ArchiveInvalid(f"The archive holds {len(extra)} contents that nothing in it names, {min(extra)} first.")
    _check_contents(archive, tables, tick)
    return tables


def _of_snapshots(archive: Archive, tables: Tables) -> set[str]:
    contents = SnapshotContents(lambda sha256: _whole(archive, sha256))
    for manifest in tables.manifests:
        try:
            contents.add(manifest)
        except ManifestError as error:
            raise ArchiveInvalid(f"A snapshot is not valid: {error}.") from error
    return contents.found


def _whole(archive: Archive, sha256: str) -> bytes:
    """A content that describes others, in memory."""
    data = bytearray()
    for chunk in archive.content(sha256):
        data += chunk
        if len(data) > archive.limits.document_bytes:
            raise ArchiveTooLarge(f"The content {sha256} describes a snapshot in more than {len(data):,} bytes.")
    return bytes(data)


def _check_contents(archive: Archive, tables: Tables, tick: Tick) -> None:
    """Each is unpacked once, which compares it with its hash."""
    total_bytes = 0
    for sha256 in archive.contents:
        size_bytes = 0
        for chunk in archive.content(sha256):
            size_bytes += len(chunk)
            total_bytes += len(chunk)
            if total_bytes > archive.limits.contents_bytes:
                raise ArchiveTooLarge(f"The contents have more than {archive.limits.contents_bytes:,} bytes unpacked.")
            tick()
        if tables.sizes.setdefault(sha256, size_bytes) != size_bytes:
            raise ArchiveInvalid(f"The content {sha256} has {size_bytes} bytes, not {tables.sizes[sha256]}.")
