"""Which contents a session is made of: what its rows, events and snapshots name, and nothing else.

Writer and reader ask the same: an archive holds exactly these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from runs.events.types import AnyEvent, BlobText
from sandboxes.manifest import decode_descriptor, decode_manifest

Read = Callable[[str], bytes]
"""The content of a hash, from the store or from an archive."""


def texts_of(event: AnyEvent) -> Iterator[BlobText]:
    """The long texts that an event names."""
    waiting: list[object] = [getattr(event, name) for name in event.__struct_fields__]
    while waiting:
        value = waiting.pop()
        if isinstance(value, BlobText):
            yield value
        elif isinstance(value, msgspec.Struct):
            waiting += [getattr(value, name) for name in value.__struct_fields__]
        elif isinstance(value, list):
            waiting += value


class SnapshotContents:
    """What the snapshots of a session need, of which most is needed by many of them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._pieces: set[str] = set()
        self.found: set[str] = set()

    def add(self, manifest_sha256: str) -> None:
        """Raises `ManifestError`, and what reading raises; nothing is added then."""
        manifest = decode_manifest(self._read(manifest_sha256))
        found = {manifest_sha256, *manifest.blobs()}
        pieces = {piece.blob for piece in manifest.pieces} - self._pieces
        for piece in pieces:
            found.update(decode_descriptor(self._read(piece)).blobs())
        self._pieces |= pieces
        self.found |= found
