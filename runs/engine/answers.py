"""What counts as a node's answer.

- Code gives it: `answer["ready"] = True`, `FINAL(x)` or `FINAL_VAR("x")` in a cell. All cells of the reply run; the first
  that gave an answer wins, as in `rlms`.
- Text gives it (the older protocol): `FINAL(...)` or `FINAL_VAR(...)` at the start of a line outside code. With cells
  beside it, it is taken after they have run, and only if none failed: what was written before an error was seen is a guess.
- No answer in time: `answer["content"]` as far as it got is the partial answer. A root without one reports its latest words
  instead, since people read it and see that it is partial; code of a parent would take them for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from runs.engine import observation, parsing
from runs.engine.state import CellRecord, NodeState, NodeTask, StepState

LAST_WORDS_CHARS = 2_000


def failed(cells: Sequence[CellRecord]) -> bool:
    """Did a cell that the model wrote fail?"""
    return any(cell.status != "ok" for cell in cells if not cell.built_in)


def given(step: StepState) -> str | None:
    """The answer that the step gave, when all its cells have run."""
    for cell in step.cells:
        if cell.final is not None:
            return cell.final
    return None if failed(step.cells) else step.final


def partial(task: NodeTask, node: NodeState) -> str | None:
    """What there is of an answer when a node ends without one."""
    return node.partial or (node.last_words if task.depth == 0 else "") or None


def last_words(step: StepState) -> str:
    """The text of the step's reply without its code, or else the end of what its cells printed."""
    _, prose = parsing.split_reply(step.reply)
    if prose.strip():
        return prose.strip()[:LAST_WORDS_CHARS]
    printed = [text for cell in step.cells if (text := observation.shown(cell.stdout).strip())]
    return printed[-1][-LAST_WORDS_CHARS:] if printed else ""
