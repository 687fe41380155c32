"""What changed in a variable: both values as plain trees, made in scratch sandboxes and compared in one."""

from __future__ import annotations

from typing import Literal

import msgspec

from runs.access import Actor
from runs.replay.inspect.errors import AnswerUnreadable, BadRequest
from runs.replay.inspect.evaluation import audit_look
from runs.replay.inspect.inside import program
from runs.replay.inspect.inside.difference import _rlmweb_difference
from runs.replay.inspect.inside.plain import _rlmweb_plain
from runs.replay.inspect.slots import slots
from runs.replay.inspect.states import StepState
from runs.services.snapshots.scratch import ScratchBox, open_scratch

TREE_CHARS = 100_000
TREE_BYTES = 250 * 1024
MAX_ENTRIES = 200
ENTRIES_CHARS = 100_000
TIMEOUT_S = 10.0


class Entry(msgspec.Struct, frozen=True):
    """One difference. `path` leads to the element (`['a'][3]`), empty for the value itself.

    what: `added`, `removed`, `changed`, `length`; `text` with the lines of a unified diff; `more` for what differs, or
    is not compared, behind what the trees hold.
    """

    path: str
    what: Literal["added", "removed", "changed", "length", "text", "more"]
    before: str | None = None
    after: str | None = None
    lines: list[str] = []


class Difference(msgspec.Struct, frozen=True):
    """`cut`: there are more differences than these. No entry at all: the values differ behind what was compared."""

    entries: list[Entry]
    cut: bool = False


_decoder = msgspec.json.Decoder(Difference)


def difference(state: StepState, name: str, *, actor: Actor) -> Difference:
    """What changed in variable `name` since the node's snapshot before.

    Raises `InspectError` and `SnapshotError`, and `SandboxError` when no sandbox could be had.
    """
    row = state.row(name)
    if state.snapshot is None or state.before is None or not row.has_diff:
        raise BadRequest(f"{name[:100]!r} did not change in step {state.step.number}: there is nothing to compare.")
    assert actor.user is not None
    code = program(_rlmweb_plain, TREE_CHARS, variable=name)
    with slots.taken(actor.user.pk):
        with open_scratch(state.before) as box:
            before = answer_of(box, code, TREE_BYTES)
        with open_scratch(state.snapshot) as box:
            after = answer_of(box, code, TREE_BYTES)
            trees = program(_rlmweb_difference, before.decode(), after.decode(), MAX_ENTRIES, ENTRIES_CHARS)
            found = answer_of(box, trees, TREE_BYTES)
    audit_look("variable.compare", state, actor, {"name": name[:200]})
    try:
        return _decoder.decode(found)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnswerUnreadable(f"The comparison came back broken from the sandbox: {error}") from error


def answer_of(box: ScratchBox, code: str, max_bytes: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """What one of our programs printed: a line of ASCII JSON. Raises `AnswerUnreadable`."""
    said = box.evaluate(code, timeout_s=timeout_s, max_output_bytes=max_bytes)
    if said.status == "timeout":
        raise AnswerUnreadable(f"The value could not be read within {timeout_s:g} s.", "Evaluate a part of it instead.")
    if said.status != "ok":
        raise AnswerUnreadable(f"The value could not be read: {said.error.message if said.error else said.status}")
    # The line is the last thing printed: reading the value may have made its own objects print.
    line = said.output.rstrip("\n").rpartition("\n")[2]
    return line.encode()
