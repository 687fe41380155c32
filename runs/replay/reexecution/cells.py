"""One cell again: run with recorded answers, and what it did compared with what it did the first time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from runs.engine.io import Ask, CallKey
from runs.engine.state import CellRecord
from runs.engine.subcalls import chat_messages
from runs.events.types import Text
from runs.lm.errors import LmError
from runs.replay.reexecution.causes import THREADS, modulo_addresses, names_in
from runs.replay.reexecution.record import CellRecordView, NodeRecord, RecordLost
from runs.replay.reexecution.report import Finding, shown, shown_pair
from runs.services.calls import error_info
from runs.services.journal import request_sha256
from runs.services.noderun import NodeRun
from runs.services.rebuild import REBUILD_CELL_TIMEOUT_S
from runs.services.recorded import RecordedAnswers, child_request
from runs.services.snapshots.scratch import CellOutcome, ScratchAnswer, ScratchBox
from sandboxes.frames import SubCall

NOT_RECORDED = "this sub-call is not in the record"
BY_ITSELF = ("ok", "error")
"""Statuses of cells that came to their end; others were ended, and may be in another place the next time."""
NOTE_ADDRESSES = "memory addresses, which are new in every process"
NOTE_ORDER = "the order in which threads made their sub-calls"
NOTE_INTERRUPTED = "a cell that was interrupted, which is not run again"
NOTE_OUTPUT_LOST = "output that is not in the store any more"


def was_ended(cell: CellRecord) -> bool:
    """It did not come to its end by itself."""
    return cell.status not in BY_ITSELF


@dataclass(slots=True)
class Comparison:
    """What was found in one step so far. `notes`: what differed, or could not be compared, and does not count. `did`: what
    it did this time, to be compared with another time."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def same(self, was: str, now: str) -> bool:
        if was == now:
            return True
        if modulo_addresses(was) == modulo_addresses(now):
            self.note(NOTE_ADDRESSES)
            return True
        return False

    def compare(self, what: str, cell: int, was: str, now: str) -> None:
        if not self.same(was, now):
            shown_was, shown_now = shown_pair(was, now)
            self.findings.append(Finding(what, cell, "", shown_was, shown_now))


class CellAgain:
    """A cell of a step that is on record."""

    def __init__(self, run: NodeRun, record: NodeRecord, step: int, number: int, cell: CellRecord) -> None:
        self._run = run
        self._record = record
        self._number = number
        self._cell = cell
        self._then = record.cell(step, number)

    def execute(self, box: ScratchBox, answers: RecordedAnswers, found: Comparison) -> None:
        if self._cell.status == "interrupted":
            found.note(NOTE_INTERRUPTED)
            return
        asked = Asked(self._run, answers, self._number)
        limit_s = self._run.config.limits.cell_timeout_s
        timeout_s = limit_s if was_ended(self._cell) else REBUILD_CELL_TIMEOUT_S
        outcome = box.run_cell(self._cell.code, timeout_s=timeout_s, answer=asked.answer)
        found.did += _did(outcome)
        self._outputs(outcome, self._then, found)
        self._error(outcome, found)
        if not was_ended(self._cell) or asked.unknown:
            self._subcalls(outcome, asked, answers, found)
        self._answer(outcome, found)

    def _outputs(self, outcome: CellOutcome, then: CellRecordView, found: Comparison) -> None:
        if not then.output_known:
            found.note(NOTE_OUTPUT_LOST)
            return
        for stream, was, now in (("stdout", then.stdout, outcome.stdout), ("stderr", then.stderr, outcome.stderr)):
            if was_ended(self._cell):  # one of them got further than the other
                least = min(len(was), len(now))
                was, now = was[:least], now[:least]
            found.compare(stream, self._number, was, now)

    def _error(self, outcome: CellOutcome, found: Comparison) -> None:
        cell, error = self._cell, outcome.finished.error
        was = f"{cell.error_type}: {cell.error_message}" if cell.error_type else ""
        now = f"{error.type}: {error.message}" if error is not None else ""
        if not found.same(was, now) or outcome.finished.status != cell.status:
            was, now = shown(was or cell.status), shown(now or outcome.finished.status)
            found.findings.append(Finding("error", self._number, "", was, now))

    def _answer(self, outcome: CellOutcome, found: Comparison) -> None:
        was, now = self._cell.final, outcome.final
        if (was is None) != (now is None) or not found.same(was or "", now or ""):
            none = "(no answer)"
            shown_was, shown_now = shown_pair(none if was is None else was, none if now is None else now)
            found.findings.append(Finding("answer", self._number, "", shown_was, shown_now))

    # Sub-calls ------------------------------------------------------------------------------------------------------

    def _subcalls(self, outcome: CellOutcome, asked: Asked, answers: RecordedAnswers, found: Comparison) -> None:
        """New prompts, then recorded ones that nobody asked, then another grouping, then another order."""
        left = answers.left(self._number)
        if asked.unknown or left:
            was = "\n".join(self._prompt(each.key) for each in left[:5])
            shown_was, shown_now = shown_pair(was, "\n".join(asked.unknown[:5]))
            found.findings.append(Finding("sub-calls", self._number, "", shown_was, shown_now))
            return
        now = [(frame.kind, len(frame.prompts)) for frame, _ in outcome.calls]
        was_calls = self._then.subcalls
        if sorted(was_calls) != sorted(now):
            found.findings.append(Finding("sub-calls", self._number, "", _calls(was_calls), _calls(now)))
        elif asked.moved or was_calls != now:
            if names_in(self._cell.code) & THREADS.names:
                found.note(NOTE_ORDER)
            else:
                moved = [self._prompt(key) for key in asked.moved[:5]]
                was, is_now = "in another order", "\n".join(moved) or _calls(now)
                found.findings.append(Finding("sub-calls", self._number, "", was, shown(is_now)))

    def _prompt(self, key: CallKey) -> str:
        prompt: Text | None = self._then.prompts.get((key.subcall, key.index))
        place = f"{key.subcall}, prompt {key.index + 1}"
        if prompt is None:
            return place
        try:
            return f"{place}: {shown(self._record.text(prompt))}"
        except RecordLost:
            return place


def _did(outcome: CellOutcome) -> list[str]:
    error = outcome.finished.error
    ended = f"{outcome.finished.status} {error.type}: {error.message}" if error is not None else outcome.finished.status
    prompts = sorted(prompt for _, prompts in outcome.calls for prompt in prompts)
    return [modulo_addresses(text) for text in (outcome.stdout, outcome.stderr, ended, outcome.final or "", *prompts)]


def _calls(calls: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{kind}_query of {count}" if count > 1 else f"{kind}_query" for kind, count in calls) or "none"


class Asked:
    """Answers the sub-calls of one cell from the record, and never from a model."""

    def __init__(self, run: NodeRun, answers: RecordedAnswers, cell: int) -> None:
        self._run = run
        self._answers = answers
        self._cell = cell
        self.unknown: list[str] = []
        """Prompts that the record does not have."""
        self.moved: list[CallKey] = []
        """Places at which another prompt was asked than the first time."""

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
            self.unknown.append(f"{frame.call}, prompt {index + 1}: {shown(prompt)}")
            return ScratchAnswer(error=NOT_RECORDED)
        if found.key != key:
            self.moved.append(key)
        return ScratchAnswer(found.text, found.error)
