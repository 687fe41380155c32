"""What a page of a comparison shows: the two sessions, their difference in configuration and cost, one step of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runs.blobs import BlobStore, blob_store
from runs.events.fold import fold_line
from runs.events.read import all_after
from runs.events.tree import Cell, Step, Tree
from runs.models import Session
from runs.replay.compare.align import StepPair, reply_of
from runs.replay.compare.texts import DiffLine, diff, same, whole
from runs.replay.inspect.variables import VariableRow, variable_rows
from runs.services.snapshots.reading import SnapshotError, manifest_of, snapshot_of

MAX_VARIABLES = 200


def tree_of(session: Session) -> Tree:
    """The session's whole log as a tree."""
    tree = Tree()
    for line in all_after(session.pk):
        fold_line(tree, line)
    return tree


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the configuration that is not the same."""

    name: str
    a: str
    b: str


def settings_between(a: Session, b: Session) -> list[Setting]:
    found = [Setting("question", a.question, b.question)] if a.question != b.question else []
    if a.context.sha256 != b.context.sha256:
        found.append(
            Setting(
                "context", f"{a.context.name} ({a.context.sha256[:12]})", f"{b.context.name} ({b.context.sha256[:12]})"
            )
        )
    return found + _between("", a.config, b.config)


def _between(prefix: str, a: Any, b: Any) -> list[Setting]:
    if isinstance(a, dict) and isinstance(b, dict):
        names = sorted({*a, *b})
        return [each for name in names for each in _between(f"{prefix}.{name}".strip("."), a.get(name), b.get(name))]
    return [] if a == b else [Setting(prefix, _shown(a), _shown(b))]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)[:300]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing of a step in both sessions. `lines` is empty when they are the same."""

    name: str
    a: str
    b: str
    lines: list[DiffLine]

    @property
    def equal(self) -> bool:
        return not self.lines


@dataclass(frozen=True, slots=True)
class VariablePair:
    """`change`: from the first session's state to the second's."""

    row: VariableRow
    a_preview: str
    b_preview: str


@dataclass(frozen=True, slots=True)
class StepView:
    pair: StepPair
    parts: list[Part]
    variables: list[VariablePair]
    variables_note: str


def step_view(pair: StepPair, a: tuple[Session, int | None], b: tuple[Session, int | None]) -> StepView:
    """`a` and `b`: the sessions, and the number of the node in each."""
    store = blob_store()
    parts = [
        _part("prompt", _messages(pair.a, store), _messages(pair.b, store)),
        _part("reply", _reply(pair.a, store), _reply(pair.b, store)),
    ]
    for number in range(max(len(pair.a.cells) if pair.a else 0, len(pair.b.cells) if pair.b else 0)):
        left, right = _cell(pair.a, number), _cell(pair.b, number)
        parts.append(_part(f"code of cell {number + 1}", _code(left, store), _code(right, store)))
        parts.append(_part(f"output of cell {number + 1}", _output(left, store), _output(right, store)))
    variables, note = _variables(pair.number, a, b)
    return StepView(pair, parts, variables, note)


def _part(name: str, a: str, b: str) -> Part:
    return Part(name, a, b, diff(a, b))


def _messages(step: Step | None, store: BlobStore) -> str:
    messages = step.messages if step is not None else []
    return "\n\n".join(f"[{message.role}]\n{whole(message.content, store)}" for message in messages)


def _reply(step: Step | None, store: BlobStore) -> str:
    return whole(reply_of(step), store) if step is not None else ""


def _cell(step: Step | None, number: int) -> Cell | None:
    return step.cells[number] if step is not None and number < len(step.cells) else None


def _code(cell: Cell | None, store: BlobStore) -> str:
    return whole(cell.code, store) if cell is not None else ""


def _output(cell: Cell | None, store: BlobStore) -> str:
    if cell is None:
        return ""
    text = "".join(whole(chunk.text, store) for chunk in cell.output if not chunk.late)
    return f"{text}\n{cell.error.type}: {cell.error.message}" if cell.error is not None else text


def _variables(
    step: int, a: tuple[Session, int | None], b: tuple[Session, int | None]
) -> tuple[list[VariablePair], str]:
    manifests = []
    for session, node in (a, b):
        snapshot = snapshot_of(session, node, step) if node is not None else None
        if snapshot is None:
            return [], "Not both sessions have a snapshot of this step, so their variables cannot be compared."
        try:
            manifests.append(manifest_of(snapshot))
        except SnapshotError as error:
            return [], f"{error}. {error.way_out}"
    left, right = manifests
    before = {state.name: state.preview for state in left.variables}
    rows = [row for row in variable_rows(right, left) if row.change != "unchanged"]
    found = [
        VariablePair(row, before.get(row.name, ""), "" if row.change == "deleted" else row.preview)
        for row in rows[:MAX_VARIABLES]
    ]
    return found, "" if found else "All variables have the same content."


def same_answer(a: Tree, b: Tree) -> bool:
    return a.status == b.status and same(a.answer, b.answer)
