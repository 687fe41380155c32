"""May this session's snapshot name these contents? A manifest comes from hostile code and must not reach those of others."""

from __future__ import annotations

from functools import lru_cache

import zstandard

from runs.blobs import BlobError, BlobStore
from runs.models import BlobUse, Node
from runs.services.boxsetup import context_sha256
from sandboxes.manifest import Manifest, ManifestError, decode_descriptor


class NotOurs(Exception):
    """The manifest names a content that this session did not bring."""


class ContentCheck:
    """Of one node, in one worker."""

    def __init__(self, node: Node, store: BlobStore) -> None:
        self._session_pk = node.session_id
        self._store = store
        self._own = {context_sha256(node)}

    def add(self, sha256: str) -> None:
        """The node's sandbox sent this content."""
        self._own.add(sha256)

    def check(self, manifest: Manifest, before: Manifest | None) -> None:
        """Every content that restoring needs is in the store and is the session's.

        `before` is a manifest of the node that was checked: what both name is not looked at again. Raises `NotOurs`,
        `ManifestError`.
        """
        known = set(before.blobs()) if before is not None else set()
        new = set(manifest.blobs()) - known
        self._require(new)
        self._require({inner for piece in manifest.pieces if piece.blob in new for inner in self._inner(piece.blob)})

    def _inner(self, piece: str) -> tuple[str, ...]:
        try:
            return _contents_of_piece(self._store, piece)
        except (BlobError, zstandard.ZstdError) as error:
            raise ManifestError(f"a piece of the snapshot cannot be read: {error}") from error

    def _require(self, wanted: set[str]) -> None:
        unknown = wanted - self._own
        if not unknown:
            return
        used = BlobUse.objects.filter(session_id=self._session_pk, sha256__in=unknown).values_list("sha256", flat=True)
        missing = unknown.difference(used)
        if missing:
            raise NotOurs(
                f"the snapshot names {len(missing)} contents that the sandbox did not send, {min(missing)} first"
            )
        self._own |= unknown


@lru_cache(maxsize=4096)
def _contents_of_piece(store: BlobStore, sha256: str) -> tuple[str, ...]:
    return tuple(decode_descriptor(store.get(sha256)).blobs())
