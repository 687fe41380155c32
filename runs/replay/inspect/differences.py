"""What changed in a variable: both values as plain trees, made in scratch sandboxes and compared in one."""

from __future__ import annotations

from itertools import takewhile
from typing import Literal

import msgspec

from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.replay.inspect.errors import AnswerUnreadable, BadRequest
from runs.replay.inspect.evaluation import audit_look
from runs.replay.inspect.inside import program
from runs.replay.inspect.inside.difference import _rlmweb_difference
from runs.replay.inspect.inside.plain import _rlmweb_plain
from runs.replay.inspect.slots import slots
from runs.replay.inspect.states import StepState
from runs.services.policy_facts import facts_of_session
from runs.services.snapshots.scratch import Evaluates, ScratchBox, open_scratch

TREE_CHARS = 100_000
TREE_BYTES = 250 * 1024
MAX_ENTRIES = 200
ENTRIES_CHARS = 100_000
BLOCK_CHARS = 4096
LEAD_CHARS = 300
"""Of a long text, what is shown before the block in which it begins to differ."""
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


class _LongText(msgspec.Struct, frozen=True):
    """Of a tree, what a value that is a long text has besides: hashes of its blocks."""

    blocks: list[str] = []


_long_text = msgspec.json.Decoder(_LongText)
_decoder = msgspec.json.Decoder(Difference)


def difference(state: StepState, name: str, *, actor: Actor) -> Difference:
    """What changed in variable `name` since the node's snapshot before.

    Raises `InspectError`, `PolicyRefused` and `SnapshotError`, and `SandboxError` when no sandbox could be had.
    """
    row = state.row(name)
    if state.snapshot is None or state.before is None or not row.has_diff:
        raise BadRequest(f"{name[:100]!r} did not change in step {state.step.number}: there is nothing to compare.")
    assert actor.user is not None
    require(Act.EVALUATE, facts_of_session(state.session, actor))
    with slots.taken(actor.user.pk), open_scratch(state.before) as earlier, open_scratch(state.snapshot) as now:
        start, (before, after) = 0, _trees(name, 0, earlier, now)
        far = _first_difference(before, after)
        if far > TREE_CHARS // 4:
            start, (before, after) = far, _trees(name, far, earlier, now)
        path = f"[{start}:]" if start else ""
        compare = program(_rlmweb_difference, before.decode(), after.decode(), path, MAX_ENTRIES, ENTRIES_CHARS)
        found = answer_of(now, compare, TREE_BYTES)
    audit_look("variable.compare", state, actor, {"name": name[:200]})
    try:
        return _decoder.decode(found)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnswerUnreadable(f"The comparison came back broken from the sandbox: {error}") from error


def _trees(name: str, start: int, *boxes: ScratchBox) -> list[bytes]:
    code = program(_rlmweb_plain, TREE_CHARS, start, variable=name)
    return [answer_of(box, code, TREE_BYTES) for box in boxes]


def _first_difference(before: bytes, after: bytes) -> int:
    """About where two long texts begin to differ, in characters; 0 when they are not both long texts."""
    try:
        old, new = (_long_text.decode(tree).blocks for tree in (before, after))
    except (msgspec.DecodeError, RecursionError):
        return 0
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    return max(0, same * BLOCK_CHARS - LEAD_CHARS)


def answer_of(box: Evaluates, code: str, max_bytes: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """What one of our programs printed: a line of ASCII JSON. Raises `AnswerUnreadable`."""
    said = box.evaluate(code, timeout_s=timeout_s, max_output_bytes=max_bytes)
    if said.status == "timeout":
        raise AnswerUnreadable(f"The value could not be read within {timeout_s:g} s.", "Evaluate a part of it instead.")
    if said.status != "ok":
        raise AnswerUnreadable(f"The value could not be read: {said.error.message if said.error else said.status}")
    # The line is the last thing printed: reading the value may have made its own objects print.
    line = said.output.rstrip("\n").rpartition("\n")[2]
    return line.encode()
