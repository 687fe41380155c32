"""Reading snapshots: which there are, and what their manifests say. Nothing here runs code of a session."""

from __future__ import annotations

from django.db.models import QuerySet

from runs.blobs import BlobCorrupt, BlobError, BlobMissing, blob_store
from runs.models import Node, Session
from runs.text import scrub
from sandboxes.errors import SandboxError
from sandboxes.frames import CellError
from sandboxes.manifest import Manifest, ManifestError, decode_manifest
from sandboxes.models import Snapshot


class SnapshotError(SandboxError):
    """A snapshot cannot be used. The message names it; `way_out` says what can be done instead."""

    way_out = ""

    def __init__(self, message: str | None = None, way_out: str = "") -> None:
        super().__init__(message)
        if way_out:
            self.way_out = way_out


class SnapshotMissing(SnapshotError):
    """There is no snapshot of this step."""

    way_out = "Choose another step, or execute the session again: that makes its states anew."


class SnapshotExpired(SnapshotError):
    """The contents of the snapshot were given up by the retention policy."""

    way_out = "Execute the session again: that makes its states anew. Pin snapshots that must be kept."


class SnapshotCorrupt(SnapshotError):
    """What is stored is not what was saved."""

    way_out = "Choose another step, and check the storage: contents were changed or lost there."


class SnapshotIncompatible(SnapshotError):
    """The snapshot was made by another version of Python."""

    way_out = "Restore it where the sandboxes run that version, or execute the session again here."


def snapshots_of(session: Session, node_number: int | None = None) -> QuerySet[Snapshot]:
    """Snapshots of the session, or of one of its nodes, by node and step."""
    nodes = Node.objects.filter(session=session)
    if node_number is not None:
        nodes = nodes.filter(number=node_number)
    return Snapshot.objects.filter(
        session_uuid=session.uuid, node_uuid__in=nodes.values("uuid"), kind=Snapshot.Kind.PORTABLE
    ).order_by("node_uuid", "step_number")


def snapshot_of(session: Session, node_number: int, step_number: int) -> Snapshot | None:
    """The snapshot of the state at the end of a step, whether or not it can be used."""
    return snapshots_of(session, node_number).filter(step_number=step_number).first()


def require_snapshot(session: Session, node_number: int, step_number: int) -> Snapshot:
    """One that can be restored, as far as can be told without doing it. Raises `SnapshotError`."""
    snapshot = snapshot_of(session, node_number, step_number)
    if snapshot is None:
        raise SnapshotMissing(f"there is no snapshot of step {step_number} of node {node_number}")
    check_compatible(snapshot, manifest_of(snapshot).python)
    return snapshot


def latest_snapshot(node: Node, *, up_to_step: int) -> Snapshot | None:
    """The newest snapshot of `node` that is still kept, of `up_to_step` or before."""
    return (
        Snapshot.objects.filter(
            node_uuid=node.uuid,
            step_number__lte=up_to_step,
            kind=Snapshot.Kind.PORTABLE,
            collected_at__isnull=True,
        )
        .order_by("-step_number")
        .first()
    )


def manifest_of(snapshot: Snapshot) -> Manifest:
    """Raises `SnapshotExpired`, `SnapshotMissing` or `SnapshotCorrupt`."""
    return decode_manifest_of(snapshot, manifest_text(snapshot))


def manifest_text(snapshot: Snapshot) -> str:
    """The manifest as it is stored, checked against its hash. Raises like `manifest_of`."""
    if snapshot.collected_at is not None:
        raise _expired(snapshot)
    store = blob_store()
    try:
        store.verify(snapshot.manifest_sha256)
        return store.text(snapshot.manifest_sha256)
    except BlobMissing as error:
        raise SnapshotMissing(f"{named(snapshot)}: its manifest is not in the store any more") from error
    except (BlobCorrupt, UnicodeDecodeError) as error:
        raise SnapshotCorrupt(f"{named(snapshot)}: {error}") from error
    except BlobError as error:
        raise SnapshotError(f"{named(snapshot)} cannot be read: {error}") from error


def _expired(snapshot: Snapshot) -> SnapshotExpired:
    """Names the nearest step that one can go back to instead: an earlier one, from which its cells lead here."""
    kept = Snapshot.objects.filter(node_uuid=snapshot.node_uuid, kind=Snapshot.Kind.PORTABLE, collected_at=None)
    earlier = kept.filter(step_number__lt=snapshot.step_number).order_by("-step_number").first()
    near = earlier or kept.order_by("step_number").first()
    message = f"{named(snapshot)} was given up on {snapshot.collected_at:%Y-%m-%d} (retention policy)"
    if near is None:
        return SnapshotExpired(message)
    where = "before" if near is earlier else "after"
    return SnapshotExpired(
        message, f"Choose step {near.step_number}, the nearest one {where} it that is kept. {SnapshotExpired.way_out}"
    )


def decode_manifest_of(snapshot: Snapshot, text: str) -> Manifest:
    """Raises `SnapshotCorrupt`."""
    try:
        return decode_manifest(text)
    except ManifestError as error:
        raise SnapshotCorrupt(f"{named(snapshot)}: {error}") from error


def check_compatible(snapshot: Snapshot, python: str) -> None:
    """Raises `SnapshotIncompatible` when the sandboxes here ran another minor version of Python the last time.

    What a sandbox really runs is known when there is one: it refuses by itself (`restore_failed`).
    """
    taken_here = Snapshot.objects.filter(sandbox__isnull=False, kind=Snapshot.Kind.PORTABLE).exclude(python="")
    here = taken_here.order_by("-pk").values_list("python", flat=True).first()
    if python and here and python.split(".")[:2] != here.split(".")[:2]:
        raise SnapshotIncompatible(f"{named(snapshot)} was made by Python {python}; the sandboxes here run {here}")


def restore_failed(snapshot: Snapshot, error: CellError) -> SnapshotError:
    """What the sandbox says of a restore that it could not do, as an error of the snapshot."""
    kind = SnapshotIncompatible if error.type == "OtherPython" else SnapshotCorrupt
    return kind(f"{named(snapshot)} could not be restored: {error.type}: {scrub(error.message)[:1000]}")


def is_untouched(manifest: Manifest) -> bool:
    """Is it the state of a node whose code had not begun? A sandbox that was just set up is in that state."""
    return not manifest.python


def named(snapshot: Snapshot) -> str:
    return f"the snapshot of step {snapshot.step_number} ({snapshot.uuid})"
