"""Executing the steps of one node again, in scratch sandboxes, each step compared with its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.engine.state import CellRecord, step_state
from runs.events.tree import Tree
from runs.models import Node, Step
from runs.replay.reexecution.causes import guess, plain_cause
from runs.replay.reexecution.cells import CellAgain, Comparison, was_ended
from runs.replay.reexecution.files import compare_files
from runs.replay.reexecution.record import NodeRecord
from runs.replay.reexecution.report import MAX_FINDINGS, Finding, StepReport
from runs.replay.reexecution.starts import Options, Stretch, open_start, stretches
from runs.replay.reexecution.variables import compare_variables, different
from runs.services.noderun import NodeRun
from runs.services.recorded import RecordedAnswers
from runs.services.snapshots.reading import SnapshotError, manifest_of, snapshot_of
from runs.services.snapshots.scratch import ScratchBox
from sandboxes.errors import SandboxError
from sandboxes.manifest import Manifest
from sandboxes.models import Snapshot

NOTE_ENDED = "what a cell had done when it was ended, which is never at the same place"


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A finished step of the journal, and its cells that ran, by number."""

    row: Step
    cells: dict[int, CellRecord]

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def codes(self) -> dict[int, str]:
        return {number: cell.code for number, cell in self.cells.items()}

    @property
    def was_ended(self) -> bool:
        """Its state depends on when one of its cells was ended from outside."""
        return any(was_ended(cell) for cell in self.cells.values())


@dataclass(slots=True)
class Place:
    """A sandbox that goes through a stretch. `dropped`: names that its first state lacks; `recorded_python` and `here`:
    versions, once they are known."""

    box: ScratchBox
    dropped: frozenset[str] = frozenset()
    recorded_python: str = ""
    here: str = ""


@dataclass(slots=True)
class NodeExecution:
    """The steps of `node` after `after` up to `upto`. `problems`: why some of them could not be executed."""

    node: Node
    tree: Tree
    options: Options
    after: int = 0
    upto: int | None = None
    problems: list[str] = field(default_factory=list)
    _differed: int = 0
    """The first step in which something differed."""

    def steps(self) -> Iterator[StepReport]:
        recorded = self._recorded()
        if not recorded and self.after:
            self.problems.append(f"there is no finished step after step {self.after}")
        run = NodeRun(self.node)
        record = NodeRecord(self.node, self.tree, run.store)
        try:
            for stretch in stretches(self.node, self.after, self.upto, self._ended(recorded)):
                inside = [step for step in recorded if stretch.holds(step.number)]
                try:
                    yield from self._stretch(stretch, inside, run, record)
                except SandboxError as error:
                    self.problems.append(str(error))
        finally:
            run.close()

    def _recorded(self) -> list[RecordedStep]:
        rows = Step.objects.filter(node=self.node, number__gt=self.after).exclude(finished_at=None).order_by("number")
        if self.upto is not None:
            rows = rows.filter(number__lte=self.upto)
        found = []
        for row in rows:
            cells = enumerate(step_state(row.state).cells, start=1)
            found.append(RecordedStep(row, {number: cell for number, cell in cells if cell.status}))
        return found

    def _ended(self, recorded: list[RecordedStep]) -> list[int]:
        """Steps behind which execution goes on from their snapshot, since their state cannot be had by executing."""
        return [step.number for step in recorded if step.was_ended and self._manifest(step.number) is not None]

    def _stretch(
        self, stretch: Stretch, steps: list[RecordedStep], run: NodeRun, record: NodeRecord
    ) -> Iterator[StepReport]:
        if not any(step.cells for step in steps):
            yield from (StepReport(self.node.number, step.number) for step in steps)
            return
        with open_start(self.node, stretch, self.options) as (box, start):
            place = Place(box)
            if start is not None:
                began = manifest_of(start)
                place.dropped = frozenset(each.name for each in began.dropped)
                place.recorded_python = began.python
            for step in steps:
                yield self._step(place, step, run, record)

    def _step(self, place: Place, step: RecordedStep, run: NodeRun, record: NodeRecord) -> StepReport:
        begun = time.monotonic()
        answers = RecordedAnswers(step.row, run)
        found = Comparison()
        for number, cell in step.cells.items():
            CellAgain(run, record, step.number, number, cell).execute(place.box, answers, found)
        compared = self._variables(place, step, found) if step.cells else True
        changed = record.changed_since(step.row, step.codes)
        if changed and not found.findings:
            found.findings.append(Finding("record", now=changed))
        cause = self._cause(place, step, found.findings, changed) if found.findings else ""
        return StepReport(
            node=self.node.number,
            step=step.number,
            findings=found.findings[:MAX_FINDINGS],
            cause=cause,
            compared_variables=compared,
            duration_ms=round((time.monotonic() - begun) * 1000, 1),
            notes=found.notes,
        )

    def _variables(self, place: Place, step: RecordedStep, found: Comparison) -> bool:
        """Compare by content; False when the record has no state to compare with."""
        if step.was_ended:
            found.note(NOTE_ENDED)
            return False
        recorded = self._manifest(step.number)
        if recorded is None:
            return False
        snapshot, manifest = recorded
        now = place.box.state()
        place.recorded_python, place.here = manifest.python, now.python
        compare_files(manifest, now, found)
        compare_variables(different(manifest, now), snapshot, place.box, found)
        return True

    def _manifest(self, step: int) -> tuple[Snapshot, Manifest] | None:
        """The recorded state at the end of a step; None where there is none that can be read."""
        snapshot = snapshot_of(self.node.session, self.node.number, step)
        if snapshot is None:
            return None
        try:
            return snapshot, manifest_of(snapshot)
        except SnapshotError:
            return None

    def _cause(self, place: Place, step: RecordedStep, findings: list[Finding], changed: str) -> str:
        """What is known before what is likely. A state that differed before explains what differs now."""
        before, self._differed = self._differed, self._differed or step.number
        code = "\n".join(step.codes.values())
        shown = changed or plain_cause(code, findings, place.dropped)
        if shown or before:
            return shown or f"follows: step {before} had differed already"
        return guess(code, findings, recorded_python=place.recorded_python, here=place.here)
