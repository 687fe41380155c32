"""Bring a new sandbox to the state that a lost one had: run the node's finished cells again with recorded replies.

No model is called: `llm_query` is answered from the journal and `rlm_query` by the children's answers. What had no answer
when its cell ended has none this time. Code that is deterministic ends in the same state; code that asks something it
did not ask before is told so.
"""

from __future__ import annotations

from queue import Empty

from runs.engine.io import CallKey
from runs.engine.state import CellRecord, step_state
from runs.models import LmCall, Step
from runs.services.children import endings
from runs.services.nodebox import NodeBox
from runs.services.noderun import NodeRun
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.frames import Finished, SubCall

REBUILD_CELL_TIMEOUT_S = 600.0
"""For cells that came to their end by themselves: this machine may be a slower one."""
Answers = dict[CallKey, tuple[str | None, str | None]]


class RebuildDiverged(SandboxError):
    """The lost state could not be rebuilt: a cell did something else than the first time."""


def rebuild(run: NodeRun, box: NodeBox, *, before_step: int) -> None:
    """Run all cells of the node's steps before `before_step`, and the finished ones of that step, again."""
    steps = Step.objects.filter(node=run.node, number__lte=before_step).order_by("number")
    for step in steps:
        answers = _recorded_answers(step, run)
        for number, cell in enumerate(step_state(step.state).cells, start=1):
            if cell.status:
                _run_again(run, box, f"rebuild.{step.number}.{number}", number, cell, answers)


def _recorded_answers(step: Step, run: NodeRun) -> Answers:
    """Text or error of every sub-call of the step that had one."""
    answers: Answers = {}
    for row in LmCall.objects.filter(step=step, kind="leaf"):
        if row.status == LmCall.Status.FINISHED:
            answers[CallKey(row.cell, row.subcall, row.index)] = (row.reply, None)
        elif row.status == LmCall.Status.FAILED:
            answers[CallKey(row.cell, row.subcall, row.index)] = (None, row.error_message)
    for ended in endings(step.children.all(), run.store):
        answers[ended.call] = (ended.answer, ended.error)
    return answers


def _run_again(run: NodeRun, box: NodeBox, name: str, number: int, cell: CellRecord, answers: Answers) -> None:
    link = box.link
    assert link is not None
    by_itself = cell.status in ("ok", "error")
    timeout_s = REBUILD_CELL_TIMEOUT_S if by_itself else run.config.limits.cell_timeout_s
    with box.diverted() as frames:
        link.execute(name, cell.code, timeout_s)
        while True:
            try:
                frame = frames.get(timeout=REBUILD_CELL_TIMEOUT_S)
            except Empty:
                raise StreamLost(f"cell {name} did not end while its state was rebuilt", resumable=False) from None
            if isinstance(frame, SandboxError):
                raise frame
            seq = getattr(frame, "seq", 0)
            box.seen_seq = max(box.seen_seq, seq)
            link.ack(seq)
            if isinstance(frame, SubCall) and frame.cell == name:
                _answer(box, frame, number, cell, answers)
            elif isinstance(frame, Finished) and frame.cell == name:
                return


def _answer(box: NodeBox, frame: SubCall, number: int, cell: CellRecord, answers: Answers) -> None:
    assert box.link is not None
    if frame.call not in cell.opened:
        raise RebuildDiverged(
            f"the state of the lost sandbox cannot be rebuilt: cell {number} made sub-call {frame.call},"
            " which is not in the journal"
        )
    for index in range(len(frame.prompts)):
        recorded = answers.get(CallKey(number, frame.call, index))
        if recorded is not None:
            text, error = recorded
            box.link.answer(frame.call, index, text=text, error=error)
