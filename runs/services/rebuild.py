"""Bring a new sandbox to the state that a lost one had: restore a snapshot, and run the cells after it again.

No model is called: `llm_query` is answered from the journal and `rlm_query` by the children's answers. What had no answer
when its cell ended has none this time. Code that is deterministic ends in the same state; code that asks something it
did not ask before is told so.
"""

from __future__ import annotations

from queue import Empty

from runs.engine.io import Ask, CallKey
from runs.engine.state import CellRecord, step_state
from runs.engine.subcalls import chat_messages
from runs.lm.errors import LmError
from runs.models import Step
from runs.services.calls import error_info
from runs.services.journal import request_sha256
from runs.services.nodebox import NodeBox
from runs.services.noderun import NodeRun
from runs.services.recorded import Recorded, RecordedAnswers, child_request
from runs.services.snapshots.reading import SnapshotCorrupt
from runs.services.snapshots.restoring import restore, starting_point
from runs.services.snapshots.supplying import lacking, supply
from runs.text import scrub
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.frames import Finished, Need, SubCall
from sandboxes.models import Snapshot

REBUILD_CELL_TIMEOUT_S = 600.0
"""For cells that came to their end by themselves: this machine may be a slower one."""
MAX_PROMPT_BYTES = 64 * 1024 * 1024


class RebuildDiverged(SandboxError):
    """The lost state could not be rebuilt: a cell did something else than the first time."""


def rebuild(run: NodeRun, box: NodeBox, *, before_step: int) -> int:
    """Go back to the end of step `before_step` - 1 and through the finished cells of step `before_step`; returns how many
    these are.

    Begins at the newest snapshot that holds everything. If the cells after that cannot be repeated, `rebuild_rest` is the
    way that is left.
    """
    return _from(run, box, starting_point(run.node, before_step, complete=True, distrusted=box.distrusted), before_step)


def rebuild_rest(run: NodeRun, box: NodeBox, *, before_step: int) -> int:
    """Like `rebuild`, from the newest snapshot, even if it lacks variables: using those raises an error that says so."""
    return _from(
        run, box, starting_point(run.node, before_step, complete=False, distrusted=box.distrusted), before_step
    )


def _from(run: NodeRun, box: NodeBox, start: Snapshot | None, before_step: int) -> int:
    done, cells = 0, 0
    if start is not None:
        restore(run, box, start)
        done = start.step_number
    steps = Step.objects.filter(node=run.node, number__gt=done, number__lte=before_step).order_by("number")
    for step in steps:
        answers = RecordedAnswers(step, run)
        finished = [each for each in enumerate(step_state(step.state).cells, start=1) if each[1].status]
        for number, cell in finished:
            _CellAgain(run, box, number, cell, answers).run(f"rebuild.{step.number}.{number}")
        cells = len(finished) if step.number == before_step else 0
    return cells


class _CellAgain:
    """One finished cell, run again."""

    def __init__(self, run: NodeRun, box: NodeBox, number: int, cell: CellRecord, answers: RecordedAnswers) -> None:
        self._run = run
        self._box = box
        self._number = number
        self._cell = cell
        self._answers = answers
        self._silent = len(cell.opened) - answers.calls(number)
        """Sub-calls that nobody waited for and that had no answer when the cell ended."""

    def run(self, name: str) -> None:
        link = self._box.link
        assert link is not None
        by_itself = self._cell.status in ("ok", "error")
        timeout_s = REBUILD_CELL_TIMEOUT_S if by_itself else self._run.config.limits.cell_timeout_s
        with self._box.diverted() as frames:
            link.execute(name, self._cell.code, timeout_s)
            while True:
                try:
                    frame = frames.get(timeout=REBUILD_CELL_TIMEOUT_S)
                except Empty:
                    raise StreamLost(f"cell {name} did not end while its state was rebuilt", resumable=False) from None
                if isinstance(frame, SandboxError):
                    raise frame
                seq = getattr(frame, "seq", 0)
                self._box.seen_seq = max(self._box.seen_seq, seq)
                link.ack(seq)
                if isinstance(frame, SubCall) and frame.cell == name:
                    self._answer(frame)
                elif isinstance(frame, Need):
                    missing = supply(link, frame, self._run.node, self._run.store)
                    if missing:
                        raise SnapshotCorrupt(lacking(self._box.restored, missing))
                elif isinstance(frame, Finished) and frame.cell == name:
                    return

    def _answer(self, frame: SubCall) -> None:
        found = [self._recorded(frame, index) for index in range(len(frame.prompts))]
        if not any(found):
            self._silent -= 1
        if None in found and (frame.blocking or self._silent < 0):
            raise RebuildDiverged(
                f"the state of the lost sandbox cannot be rebuilt: cell {self._number} made sub-call {frame.call},"
                " which is not in the journal"
            )
        assert self._box.link is not None
        for index, recorded in enumerate(found):
            if recorded is not None:
                self._box.link.answer(frame.call, index, text=recorded.text, error=recorded.error)

    def _recorded(self, frame: SubCall, index: int) -> Recorded | None:
        """The answer to one prompt, or None. A model that the session does not have is refused as it was before."""
        assert self._box.link is not None
        key = CallKey(self._number, frame.call, index)
        prompt = scrub(self._box.link.read_payload(frame.prompts[index], MAX_PROMPT_BYTES))
        if frame.kind == "rlm" and self._run.task.recursive:
            return self._answers.take(key, child_request(prompt))
        ask = Ask(key, "leaf", chat_messages(prompt), model=frame.model)
        try:
            model = self._run.desk.model_for(ask)
        except LmError as error:
            return Recorded(key, "", None, error_info(error).message)
        return self._answers.take(key, request_sha256(ask, model.model))
