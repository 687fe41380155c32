"""May this session's snapshot name these contents? A manifest comes from hostile code and must not reach those of others."""

from __future__ import annotations

from runs.blobs import BlobError, BlobStore
from runs.models import BlobUse, Node
from sandboxes.manifest import Manifest, ManifestError, decode_descriptor


class NotOurs(Exception):
    """The manifest names a content that this session did not bring."""


def check_contents(manifest: Manifest, node: Node, store: BlobStore, just_stored: set[str]) -> set[str]:
    """Every content that restoring needs. Raises `NotOurs`, `ManifestError`, `BlobError`."""
    own = {node.prompt_sha256, node.session.context.sha256} | just_stored
    named = set(manifest.blobs())
    _require(named, own, node)
    inner: set[str] = set()
    for piece in manifest.pieces:
        inner.update(_descriptor(store, piece.blob))
    _require(inner - named, own, node)
    return named | inner


def _descriptor(store: BlobStore, sha256: str) -> set[str]:
    try:
        return set(decode_descriptor(store.get(sha256)).blobs())
    except BlobError as error:
        raise ManifestError(f"a piece of the snapshot cannot be read: {error}") from error


def _require(wanted: set[str], own: set[str], node: Node) -> None:
    unknown = wanted - own
    if not unknown:
        return
    used = BlobUse.objects.filter(session_id=node.session_id, sha256__in=unknown).values_list("sha256", flat=True)
    missing = unknown.difference(used)
    if missing:
        raise NotOurs(f"the snapshot names {len(missing)} contents that the sandbox did not send, {min(missing)} first")
