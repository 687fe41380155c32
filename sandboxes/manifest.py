"""The manifest of a portable snapshot: what a REPL held between two cells, as names and hashes of contents.

Made by the runner in the sandbox (`sandboxes/runner/capture.py`), so every field is a claim by hostile code: decoding
validates shapes and bounds, and the host stores a manifest only if it has every content that the manifest names *for
that session*. Contents are never unpickled outside a sandbox. `sandboxes/docs/snapshots.md` is the specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

MANIFEST_VERSION = 1
MAX_MANIFEST_BYTES = 16 * 1024 * 1024

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """Variables that share mutable objects, pickled together. Two names for one list are in one piece.

    `blob` is the content of a piece descriptor (JSON: the hashes of the pickle's blocks, of its buffers and of the long
    texts that it refers to), so that an unchanged piece costs a manifest one hash.
    """

    names: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=100_000)]
    blob: Sha256
    size_bytes: Size = 0
    reach: list[Name] = []
    """Global names that functions and classes in this piece use: loading it loads those too."""


class PieceDescriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of `Piece.blob`. `blocks` joined are the pickle; each of `buffers` joined is one out-of-band buffer;
    `leaves` are long texts and bytes that the pickle names by hash (`text`: the content is their UTF-8)."""

    blocks: Annotated[list[Sha256], msgspec.Meta(max_length=1_000_000)]
    buffers: Annotated[list[list[Sha256]], msgspec.Meta(max_length=100_000)] = []
    leaves: Annotated[list[Sha256], msgspec.Meta(max_length=1_000_000)] = []

    def blobs(self) -> Iterator[str]:
        yield from self.blocks
        for buffer in self.buffers:
            yield from buffer
        yield from self.leaves


class VariableState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One variable. `digest` identifies its content whatever it shares with others: equal digests, equal contents."""

    name: Name
    type: Annotated[str, msgspec.Meta(max_length=200)]
    size: Annotated[str, msgspec.Meta(max_length=100)] = ""
    preview: Annotated[str, msgspec.Meta(max_length=400)] = ""
    digest: str = ""
    """Empty for what could not be held."""
    size_bytes: Size = 0


class Dropped(msgspec.Struct, frozen=True, omit_defaults=True):
    """A variable or file that the snapshot does not hold. Code that uses it after a restore is told `reason`."""

    name: Path
    type: Annotated[str, msgspec.Meta(max_length=200)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class FileState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the workspace. kind: `file`, `dir`, `link` (`target`). `blobs` joined are a file's content."""

    path: Path
    kind: str = "file"
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)] = 0o644
    size_bytes: Size = 0
    mtime_ns: int = 0
    blobs: list[Sha256] = []
    target: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    version: int = MANIFEST_VERSION
    python: Annotated[str, msgspec.Meta(max_length=100)]
    """`3.11.7`: restores under the same minor version; another one is refused."""
    implementation: Annotated[str, msgspec.Meta(max_length=100)] = "cpython"
    variables: Annotated[list[VariableState], msgspec.Meta(max_length=100_000)] = []
    pieces: Annotated[list[Piece], msgspec.Meta(max_length=100_000)] = []
    modules: dict[Name, Name] = {}
    """Names bound to modules: name to the module to import."""
    dropped: Annotated[list[Dropped], msgspec.Meta(max_length=100_000)] = []
    files: Annotated[list[FileState], msgspec.Meta(max_length=100_000)] = []
    state: Sha256 | None = None
    """Content of the interpreter's other state (random generators, working folder, `answer`), pickled; loaded first."""

    def blobs(self) -> Iterator[str]:
        """Contents that the manifest itself names, with repetitions. What pieces name is in their descriptors."""
        for piece in self.pieces:
            yield piece.blob
        for file in self.files:
            yield from file.blobs
        if self.state is not None:
            yield self.state


class ManifestError(ValueError):
    """A manifest that is not valid; nothing of it is used."""


_decoder = msgspec.json.Decoder(Manifest)
_descriptor_decoder = msgspec.json.Decoder(PieceDescriptor)


def decode_manifest(data: bytes | str) -> Manifest:
    """Raises `ManifestError`."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"the manifest is {len(data)} bytes; the most is {MAX_MANIFEST_BYTES}")
    try:
        manifest: Manifest = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ManifestError(f"not a manifest: {error}") from error
    if manifest.version != MANIFEST_VERSION:
        raise ManifestError(f"the manifest is of version {manifest.version}; this release reads {MANIFEST_VERSION}")
    return manifest


def decode_descriptor(data: bytes | str) -> PieceDescriptor:
    """Raises `ManifestError`."""
    try:
        descriptor: PieceDescriptor = _descriptor_decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ManifestError(f"not a piece descriptor: {error}") from error
    return descriptor
