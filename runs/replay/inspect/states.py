"""The state of a step as its page shows it: the snapshot, what it holds, what changed, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runs.blobs import BlobError, blob_store
from runs.events.types import SnapshotFailed, decode_event
from runs.models import Event, Node, Session, Step
from runs.replay.inspect.errors import VariableAbsent, VariableNotHeld, sentence
from runs.replay.inspect.timeline import Point, timeline
from runs.replay.inspect.variables import VariableRow, dropped_files, variable_rows
from runs.services.snapshots.reading import (
    SnapshotError,
    SnapshotExpired,
    SnapshotIncompatible,
    SnapshotMissing,
    check_compatible,
    manifest_of,
    snapshots_of,
)
from sandboxes.manifest import Dropped, Manifest, ManifestError, decode_manifest
from sandboxes.models import Snapshot

MAX_TIMELINE_STEPS = 500
MAX_EVENTS_LOOKED_AT = 1000
WAY_OUT = "Look at a step before or after it, or start a session that takes a snapshot of every step."


class NoSuchStep(LookupError):
    """The session has no such node, or the node no such step."""


@dataclass(frozen=True, slots=True)
class StepState:
    """Without `error`, `snapshot` and `manifest` are there. With one, whatever of them can still be read."""

    session: Session
    node: Node
    step: Step
    snapshot: Snapshot | None = None
    before: Snapshot | None = None
    """The node's snapshot before, which `rows` are compared with."""
    manifest: Manifest | None = None
    rows: list[VariableRow] = field(default_factory=list)
    dropped_files: list[Dropped] = field(default_factory=list)
    error: SnapshotError | None = None
    """Why the state cannot be restored."""
    steps: list[int] = field(default_factory=list)
    """Steps of the node that have a snapshot."""

    @property
    def problem(self) -> str:
        return sentence(self.error) if self.error is not None else ""

    @property
    def way_out(self) -> str:
        return self.error.way_out if self.error is not None else ""

    @property
    def earlier(self) -> int | None:
        return max((step for step in self.steps if step < self.step.number), default=None)

    @property
    def later(self) -> int | None:
        return min((step for step in self.steps if step > self.step.number), default=None)

    def row(self, name: str) -> VariableRow:
        """Raises `VariableAbsent`, and `VariableNotHeld` for one whose content is not there."""
        row = next((row for row in self.rows if row.name == name), None)
        if row is None or row.change == "deleted":
            raise VariableAbsent(f"Step {self.step.number} has no variable {name[:100]!r}.")
        if not row.held:
            reason = row.reason or "its content was not saved"
            raise VariableNotHeld(
                f"The snapshot does not hold {name[:100]!r}: {reason}",
                "Run the step again to have it made again, or look at a step before it was made.",
            )
        return row


def step_state(session: Session, node_number: int, step_number: int) -> StepState:
    """Raises `NoSuchStep`. A snapshot that is missing or cannot be read is no error here: the state says so."""
    step = _step(session, node_number, step_number)
    found = {each.step_number: each for each in snapshots_of(session, node_number)}
    state = StepState(session, step.node, step, steps=sorted(found), snapshot=found.get(step_number))
    earlier = state.earlier
    state = replace(state, before=found[earlier] if earlier is not None else None)
    if state.snapshot is None:
        return replace(state, error=_why_none(step))
    manifest, error = _read(state.snapshot)
    if manifest is None:
        return replace(state, error=error)
    before = _read(state.before)[0] if state.before is not None else None
    rows = variable_rows(manifest, before)
    return replace(state, manifest=manifest, rows=rows, dropped_files=dropped_files(manifest), error=error)


def usable_state(session: Session, node_number: int, step_number: int) -> StepState:
    """As `step_state`, for those who restore it. Raises `NoSuchStep` and `SnapshotError`."""
    state = step_state(session, node_number, step_number)
    if state.error is not None:
        raise state.error
    return state


def variable_timeline(session: Session, node_number: int, name: str) -> list[Point]:
    """The variable over the node's newest steps that have a snapshot."""
    newest = sorted(snapshots_of(session, node_number), key=lambda each: each.step_number)[-MAX_TIMELINE_STEPS:]
    return timeline(name, ((each.step_number, _manifest_or_error(each)) for each in newest))


def _step(session: Session, node_number: int, step_number: int) -> Step:
    steps = Step.objects.select_related("node").filter(session=session, number=step_number)
    step = steps.filter(node__number=node_number).first()
    if step is None:
        raise NoSuchStep(f"node {node_number} of session {session.uuid} has no step {step_number}")
    return step


def _read(snapshot: Snapshot) -> tuple[Manifest | None, SnapshotError | None]:
    """What the snapshot says of itself, and why it cannot be restored all the same."""
    try:
        manifest = manifest_of(snapshot)
    except SnapshotExpired as error:
        return _manifest_left(snapshot), error
    except SnapshotError as error:
        return None, error
    try:
        check_compatible(snapshot, manifest.python)
    except SnapshotIncompatible as error:
        return manifest, error
    return manifest, None


def _manifest_left(snapshot: Snapshot) -> Manifest | None:
    """The manifest of a snapshot that was given up, while the store still has it."""
    store = blob_store()
    try:
        store.verify(snapshot.manifest_sha256)
        return decode_manifest(store.get(snapshot.manifest_sha256))
    except (BlobError, ManifestError):
        return None


def _manifest_or_error(snapshot: Snapshot) -> Manifest | SnapshotError:
    try:
        return manifest_of(snapshot)
    except SnapshotError as error:
        return error


def _why_none(step: Step) -> SnapshotMissing:
    if step.status in (Step.Status.READY, Step.Status.RUNNING, Step.Status.WAITING):
        said = "The step has not ended: its snapshot is taken at its end."
        return SnapshotMissing(said, "Come back when the step is over.")
    events = Event.objects.filter(session=step.session_id, type="snapshot.failed", node=step.node.number)
    for data in events.order_by("-seq").values_list("data", flat=True)[:MAX_EVENTS_LOOKED_AT]:
        event = decode_event(data)
        if isinstance(event, SnapshotFailed) and event.step == step.number:
            return SnapshotMissing(f"The snapshot of this step was not taken: {event.reason}", WAY_OUT)
    return SnapshotMissing("No snapshot was taken of this step.", WAY_OUT)
