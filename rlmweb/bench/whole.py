"""Are the snapshots on record whole? Read from the database and the blob store, past the product's own reading."""

from __future__ import annotations

from rlmweb.bench.outside import Outside
from runs.blobs import BlobError, BlobStore
from sandboxes.manifest import ManifestError, decode_descriptor, decode_manifest


class SnapshotBooks:
    """Contents that were found to be sound are not read again."""

    def __init__(self, outside: Outside, store: BlobStore) -> None:
        self._outside = outside
        self._store = store
        self._sound: set[str] = set()
        self.checked = 0

    def faults(self, session: str) -> list[str]:
        """What is wrong with the snapshots of a session that is over."""
        return [*self._incomplete(session), *self._unaccounted(session)]

    def _incomplete(self, session: str) -> list[str]:
        rows = self._outside.rows(
            "SELECT s.uuid::text, s.manifest_sha256 FROM sandboxes_snapshot s WHERE s.session_uuid::text = %s", session
        )
        used = {row[0] for row in self._used(session)}
        found = []
        for uuid, manifest in rows:
            self.checked += 1
            try:
                for sha256 in self._contents(manifest):
                    if sha256 not in used:
                        found.append(f"snapshot {uuid} needs {sha256}, which its session does not use")
            except (BlobError, ManifestError) as error:
                found.append(f"snapshot {uuid}: {error}")
        return found

    def _used(self, session: str) -> list[tuple[str]]:
        return self._outside.rows(
            "SELECT u.sha256 FROM runs_blobuse u JOIN runs_session r ON r.id = u.session_id WHERE r.uuid::text = %s"
            " UNION SELECT c.sha256 FROM runs_context c JOIN runs_session r ON r.context_id = c.id"
            " WHERE r.uuid::text = %s"
            " UNION SELECT n.prompt_sha256 FROM runs_node n JOIN runs_session r ON r.id = n.session_id"
            " WHERE r.uuid::text = %s",
            *(session, session, session),
        )

    def _contents(self, manifest_sha256: str) -> list[str]:
        """All contents that a restore needs, each read and compared with its hash."""
        manifest = decode_manifest(self._sound_bytes(manifest_sha256))
        named = list(dict.fromkeys(manifest.blobs()))
        for piece in manifest.pieces:
            named += decode_descriptor(self._sound_bytes(piece.blob)).blobs()
        for sha256 in named:
            if sha256 not in self._sound:
                self._store.verify(sha256)
                self._sound.add(sha256)
        return named

    def _sound_bytes(self, sha256: str) -> bytes:
        self._store.verify(sha256)
        return self._store.get(sha256)

    def _unaccounted(self, session: str) -> list[str]:
        """Steps that began and of which the log says neither that they have a snapshot nor why they have none."""
        rows = self._outside.rows(
            "SELECT n.number, s.number FROM runs_step s JOIN runs_node n ON n.id = s.node_id"
            " JOIN runs_session r ON r.id = s.session_id WHERE r.uuid::text = %s"
            " AND s.started_at IS NOT NULL AND NOT s.inherited"
            " AND NOT EXISTS (SELECT 1 FROM runs_event e WHERE e.session_id = s.session_id AND e.node = n.number"
            " AND e.type IN ('snapshot.taken', 'snapshot.failed') AND (e.data::json ->> 'step')::int = s.number)",
            session,
        )
        return [f"step {step} of node {node} has no snapshot and no reason" for node, step in rows]
