"""Executing the steps of one node again, in a scratch sandbox, each compared with its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runs.engine.io import Ask, CallKey
from runs.engine.state import CellRecord, step_state
from runs.engine.subcalls import chat_messages
from runs.events.tree import Cell, Tree
from runs.lm.errors import LmError
from runs.models import Node, Step
from runs.replay.compare.texts import whole
from runs.replay.inspect.variables import states_by_name
from runs.replay.reexecution.causes import likely_cause, modulo_addresses
from runs.replay.reexecution.report import MAX_DIFFERENCES, Finding, StepReport, shown
from runs.services.calls import error_info
from runs.services.journal import request_sha256
from runs.services.noderun import NodeRun
from runs.services.recorded import RecordedAnswers, child_request
from runs.services.snapshots.reading import SnapshotError, manifest_of, snapshot_of
from runs.services.snapshots.restoring import ForkChangeFailed, base_of
from runs.services.snapshots.scratch import CellOutcome, ScratchAnswer, ScratchBox, open_fresh, open_scratch
from sandboxes.frames import SubCall
from sandboxes.manifest import Manifest

NOT_RECORDED = "this sub-call is not in the record"


@dataclass(frozen=True, slots=True)
class Options:
    """`clock`: Unix time at which the clocks start; `seed`: of everything drawn by chance. None: as they come."""

    clock: float | None = None
    seed: int | None = None


@dataclass(slots=True)
class NodeExecution:
    """The steps of `node` after `after` up to `upto`. `addresses`: output differed in memory addresses only."""

    node: Node
    tree: Tree
    options: Options
    after: int = 0
    upto: int | None = None
    addresses: bool = False
    _dropped: set[str] = field(default_factory=set)
    _python: str = ""
    _here: str = ""

    def steps(self) -> Iterator[StepReport]:
        """Raises `SnapshotError` when there is no state to begin from, `SandboxError` when the sandbox is lost."""
        found = Step.objects.filter(node=self.node, number__gt=self.after).exclude(finished_at=None).order_by("number")
        if self.upto is not None:
            found = found.filter(number__lte=self.upto)
        run = NodeRun(self.node)
        try:
            with self._box() as box:
                for step in found:
                    yield self._step(box, run, step)
        finally:
            run.close()

    @contextmanager
    def _box(self) -> Iterator[ScratchBox]:
        snapshot = snapshot_of(self.node.session, self.node.number, self.after) if self.after else base_of(self.node)
        if self.after and snapshot is None:
            raise SnapshotError(f"there is no snapshot of step {self.after}", "Begin at an earlier step.")
        clock, seed = self.options.clock, self.options.seed
        if snapshot is None:
            with open_fresh(self.node, clock=clock, seed=seed) as box:
                yield box
            return
        manifest = manifest_of(snapshot)
        self._dropped = {each.name for each in manifest.dropped}
        self._python = manifest.python
        with open_scratch(snapshot, clock=clock, seed=seed) as box:
            if self.node.base_code and not self.after:
                said = box.evaluate(self.node.base_code, timeout_s=60)
                if said.error is not None:
                    raise ForkChangeFailed(f"the changed variables could not be set: {said.error.message}")
            yield box

    def _step(self, box: ScratchBox, run: NodeRun, step: Step) -> StepReport:
        begun = time.monotonic()
        answers = RecordedAnswers(step, run)
        recorded = {cell.cell: cell for each in self._recorded_steps(step.number) for cell in each}
        findings: list[Finding] = []
        codes = []
        for number, cell in enumerate(step_state(step.state).cells, start=1):
            if cell.status:
                codes.append(cell.code)
                findings += self._cell(box, run, answers, number, cell, recorded.get(number))
        compared = self._variables(box, step.number, findings) if codes else True
        cause = ""
        if findings:
            cause = likely_cause(
                "\n".join(codes),
                findings[0].what,
                recorded_python=self._python,
                here=self._here,
                dropped=self._dropped,
            )
        duration_ms = (time.monotonic() - begun) * 1000
        return StepReport(
            self.node.number, step.number, findings[:MAX_DIFFERENCES], cause, compared, round(duration_ms, 1)
        )

    def _recorded_steps(self, number: int) -> Iterator[list[Cell]]:
        node = self.tree.nodes.get(self.node.number)
        for step in node.steps if node is not None else ():
            if step.step == number:
                yield step.cells

    # Cells ----------------------------------------------------------------------------------------------------------

    def _cell(
        self,
        box: ScratchBox,
        run: NodeRun,
        answers: RecordedAnswers,
        number: int,
        cell: CellRecord,
        shown_cell: Cell | None,
    ) -> list[Finding]:
        asked = _Asked(run, answers, number)
        outcome = box.run_cell(cell.code, timeout_s=run.config.limits.cell_timeout_s, answer=asked.answer)
        findings = self._outputs(outcome, number, shown_cell, run)
        error = outcome.finished.error
        now = f"{error.type}: {error.message}" if error is not None else ""
        was = f"{cell.error_type}: {cell.error_message}" if cell.error_type else ""
        if not self._same(was, now) or (not error and outcome.finished.status != cell.status):
            findings.append(
                Finding("error", number, "", shown(was or cell.status), shown(now or outcome.finished.status))
            )
        if asked.unknown:
            findings.append(Finding("sub-calls", number, "", "", shown(asked.unknown[0])))
        opened = [frame.call for frame, _ in outcome.calls]
        if not asked.unknown and sorted(opened) != sorted(cell.opened):
            findings.append(Finding("sub-calls", number, "", ", ".join(cell.opened), ", ".join(opened)))
        if cell.final is not None and not self._same(cell.final, outcome.final or ""):
            findings.append(Finding("answer", number, "", shown(cell.final), shown(outcome.final or "")))
        return findings

    def _outputs(self, outcome: CellOutcome, number: int, cell: Cell | None, run: NodeRun) -> list[Finding]:
        findings = []
        for stream, now in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
            chunks = [chunk for chunk in cell.output if chunk.stream == stream and not chunk.late] if cell else []
            was = "".join(whole(chunk.text, run.store) for chunk in chunks)
            if not self._same(was, now):
                findings.append(Finding(stream, number, "", shown(was), shown(now)))
        return findings

    def _same(self, was: str, now: str) -> bool:
        if was == now:
            return True
        if modulo_addresses(was) == modulo_addresses(now):
            self.addresses = True
            return True
        return False

    # Variables ------------------------------------------------------------------------------------------------------

    def _variables(self, box: ScratchBox, step: int, findings: list[Finding]) -> bool:
        """Compare by content; False when the record has no state to compare with."""
        snapshot = snapshot_of(self.node.session, self.node.number, step)
        try:
            recorded = manifest_of(snapshot) if snapshot is not None else None
        except SnapshotError:
            recorded = None
        if recorded is None:
            return False
        now = box.state()
        self._python, self._here = recorded.python, now.python
        self._dropped |= {each.name for each in recorded.dropped}
        findings += [
            Finding("variable", 0, name, shown(was), shown(is_now)) for name, was, is_now in _changed(recorded, now)
        ]
        return True


def _changed(recorded: Manifest, now: Manifest) -> Iterator[tuple[str, str, str]]:
    """(name, preview then, preview now) of variables with another content."""
    before, after = states_by_name(recorded), states_by_name(now)
    for name in sorted({*before, *after}):
        was, is_now = before.get(name), after.get(name)
        if (
            was is not None
            and is_now is not None
            and (was.digest == is_now.digest or not (was.digest and is_now.digest))
        ):
            continue
        if was is not None and is_now is not None and modulo_addresses(was.preview) != was.preview:
            continue  # it holds an address: its content cannot be the same
        yield name, was.preview if was is not None else "(not there)", is_now.preview if is_now else "(not there)"


class _Asked:
    """Answers the sub-calls of one cell from the record."""

    def __init__(self, run: NodeRun, answers: RecordedAnswers, cell: int) -> None:
        self._run = run
        self._answers = answers
        self._cell = cell
        self.unknown: list[str] = []
        """Prompts that the record does not have."""

    def answer(self, frame: SubCall, index: int, prompt: str) -> ScratchAnswer | None:
        key = CallKey(self._cell, frame.call, index)
        if frame.kind == "rlm" and self._run.task.recursive:
            request = child_request(prompt)
        else:
            ask = Ask(key, "leaf", chat_messages(prompt), model=frame.model)
            try:
                request = request_sha256(ask, self._run.desk.model_for(ask).model)
            except LmError as error:
                return ScratchAnswer(error=error_info(error).message)
        found = self._answers.take(key, request)
        if found is None:
            if not frame.blocking:
                return None
            self.unknown.append(prompt)
            return ScratchAnswer(error=NOT_RECORDED)
        return ScratchAnswer(found.text, found.error)
