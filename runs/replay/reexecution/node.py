"""Executing the steps of one node again, in scratch sandboxes, each step compared with its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.events.tree import Tree
from runs.models import Node, Step
from runs.replay.reexecution.causes import guess, not_asked_before, plain_cause
from runs.replay.reexecution.record import NodeRecord
from runs.replay.reexecution.report import MAX_FINDINGS, Finding, StepReport
from runs.replay.reexecution.starts import Options, Stretch, open_start, stretches
from runs.replay.reexecution.steps import NodeSteps, Place, RecordedStep
from runs.replay.reexecution.trying import MOST_MS, REPEATS, cause_by_trying
from runs.services.noderun import NodeRun
from sandboxes.errors import SandboxError


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
    """The first step in which something differed, since the state was the recorded one."""

    def steps(self) -> Iterator[StepReport]:
        recorded = self._recorded()
        if not recorded and self.after:
            self.problems.append(f"there is no finished step after step {self.after}")
        run = NodeRun(self.node)
        again = NodeSteps(self.node, run, NodeRecord(self.node, self.tree, run.store))
        # Behind a step with an ended cell, execution goes on from its snapshot: its state cannot be had by executing.
        ended = [step.number for step in recorded if step.was_ended and again.manifest(step.number) is not None]
        try:
            for stretch in stretches(self.node, self.after, self.upto, ended):
                inside = [step for step in recorded if stretch.holds(step.number)]
                try:
                    yield from self._stretch(stretch, inside, again)
                except SandboxError as error:
                    self.problems.append(str(error))
        finally:
            run.close()

    def _recorded(self) -> list[RecordedStep]:
        rows = Step.objects.filter(node=self.node, number__gt=self.after).exclude(finished_at=None).order_by("number")
        if self.upto is not None:
            rows = rows.filter(number__lte=self.upto)
        return [RecordedStep.of(row) for row in rows]

    def _stretch(self, stretch: Stretch, steps: list[RecordedStep], again: NodeSteps) -> Iterator[StepReport]:
        if not any(step.cells for step in steps):
            yield from (StepReport(self.node.number, step.number) for step in steps)
            return
        with open_start(self.node, stretch, self.options) as (box, start):
            self._differed = 0
            place = Place.begun(box, start)
            for step in steps:
                yield self._step(place, step, again)

    def _step(self, place: Place, step: RecordedStep, again: NodeSteps) -> StepReport:
        begun = time.monotonic()
        found, compared = again.execute(place, step)
        duration_ms = round((time.monotonic() - begun) * 1000, 1)
        changed = again.record.changed_since(step.row, step.codes)
        if changed and not found.findings:
            found.findings.append(Finding("record", now=changed))
        cause = ""
        if found.findings:
            cause = self._cause(place, step, found.findings, changed) or self._likely(
                place, step, found.findings, again, duration_ms
            )
        return StepReport(
            node=self.node.number,
            step=step.number,
            findings=found.findings[:MAX_FINDINGS],
            cause=cause,
            compared_variables=compared,
            duration_ms=duration_ms,
            notes=found.notes,
        )

    def _cause(self, place: Place, step: RecordedStep, findings: list[Finding], changed: str) -> str:
        """What is known. A state that differed before explains what differs now."""
        before = self._differed
        if not before and any(finding.what != "record" for finding in findings):
            self._differed = step.number
        shown = changed or plain_cause(step.code, findings, place.dropped)
        return shown or (f"follows: step {before} had differed already" if before else "")

    def _likely(
        self, place: Place, step: RecordedStep, findings: list[Finding], again: NodeSteps, duration_ms: float
    ) -> str:
        """By trying where that is cheap, or by the look of the code."""
        tried = cause_by_trying(again, step, self.options) if duration_ms <= MOST_MS and not step.was_ended else ""
        if tried and tried != REPEATS:
            return tried
        python = {"recorded_python": place.recorded_python, "here": place.here}
        return not_asked_before(findings) or tried or guess(step.code, **python)
