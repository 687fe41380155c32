"""One step again: its cells, and the state that they leave, compared with the record."""

from __future__ import annotations

from dataclasses import dataclass

from runs.engine.state import CellRecord, step_state
from runs.models import Node, Step
from runs.replay.reexecution.cells import CellAgain, Comparison, was_ended
from runs.replay.reexecution.files import compare_files
from runs.replay.reexecution.record import NodeRecord
from runs.replay.reexecution.variables import compare_variables, different
from runs.services.noderun import NodeRun
from runs.services.recorded import RecordedAnswers
from runs.services.snapshots.reading import SnapshotError, manifest_of, snapshot_of
from runs.services.snapshots.scratch import ScratchBox
from sandboxes.manifest import Manifest
from sandboxes.models import Snapshot

NOTE_ENDED = "what a cell had done when it was ended, which is never at the same place"


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A finished step of the journal, and its cells that ran, by number."""

    row: Step
    cells: dict[int, CellRecord]

    @classmethod
    def of(cls, row: Step) -> RecordedStep:
        cells = enumerate(step_state(row.state).cells, start=1)
        return cls(row, {number: cell for number, cell in cells if cell.status})

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def codes(self) -> dict[int, str]:
        return {number: cell.code for number, cell in self.cells.items()}

    @property
    def code(self) -> str:
        return "\n".join(self.codes.values())

    @property
    def was_ended(self) -> bool:
        """Its state depends on when one of its cells was ended from outside."""
        return any(was_ended(cell) for cell in self.cells.values())


@dataclass(slots=True)
class Place:
    """A sandbox that goes through steps. `dropped`: names that its first state lacks; `recorded_python` and `here`:
    versions, once they are known."""

    box: ScratchBox
    dropped: frozenset[str] = frozenset()
    recorded_python: str = ""
    here: str = ""

    @classmethod
    def begun(cls, box: ScratchBox, start: Snapshot | None) -> Place:
        if start is None:
            return cls(box)
        manifest = manifest_of(start)
        return cls(box, frozenset(each.name for each in manifest.dropped), manifest.python)


@dataclass(frozen=True, slots=True)
class NodeSteps:
    """What is needed to execute any step of one node."""

    node: Node
    run: NodeRun
    record: NodeRecord

    def execute(self, place: Place, step: RecordedStep) -> tuple[Comparison, bool]:
        """What was found, and whether the state could be compared. Raises `SandboxError`."""
        answers = RecordedAnswers(step.row, self.run)
        found = Comparison()
        for number, cell in step.cells.items():
            CellAgain(self.run, self.record, step.number, number, cell).execute(place.box, answers, found)
        return found, not step.cells or self._state(place, step, found)

    def manifest(self, step: int) -> tuple[Snapshot, Manifest] | None:
        """The recorded state at the end of a step; None where there is none that can be read."""
        snapshot = snapshot_of(self.node.session, self.node.number, step)
        if snapshot is None:
            return None
        try:
            return snapshot, manifest_of(snapshot)
        except SnapshotError:
            return None

    def _state(self, place: Place, step: RecordedStep, found: Comparison) -> bool:
        if step.was_ended:
            found.note(NOTE_ENDED)
            return False
        recorded = self.manifest(step.number)
        if recorded is None:
            return False
        snapshot, manifest = recorded
        now = place.box.state()
        place.recorded_python, place.here = manifest.python, now.python
        found.did += [f"{each.name} {each.digest}" for each in now.variables]
        found.did += [f"{each.path} {each.blobs}" for each in now.files]
        compare_files(manifest, now, found)
        compare_variables(different(manifest, now), snapshot, place.box, found)
        return True
