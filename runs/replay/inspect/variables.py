"""The variables that a snapshot holds, and what became of them since the snapshot before. From manifests alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sandboxes.manifest import Dropped, Manifest, VariableState


class Change(StrEnum):
    """What became of a variable since the node's snapshot before."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"
    UNSURE = "unsure"
    """One of the two snapshots does not hold it: its content cannot be compared."""
    UNCHANGED = "unchanged"


_FIRST = {change: place for place, change in enumerate(Change)}


@dataclass(frozen=True, slots=True)
class VariableRow:
    """One name. Of a deleted one, type, size and preview are those that it had."""

    name: str
    type: str
    size: str
    preview: str
    size_bytes: int
    change: Change
    held: bool
    reason: str = ""
    """Why the snapshot does not hold it."""
    shares: tuple[str, ...] = ()
    """Other names that share objects with it: changing one may change the other."""

    @property
    def has_diff(self) -> bool:
        """Both contents are there to be compared."""
        return self.change is Change.CHANGED and self.held


def variable_rows(now: Manifest, before: Manifest | None) -> list[VariableRow]:
    """Every variable, those that changed first; otherwise in the order in which the namespace has them."""
    reasons = {dropped.name: dropped.reason for dropped in now.dropped}
    shares = {name: piece.names for piece in now.pieces if len(piece.names) > 1 for name in piece.names}
    earlier = states_by_name(before) if before is not None else {}
    rows = []
    for name, state in states_by_name(now).items():
        others = tuple(other for other in shares.get(name, ()) if other != name)
        rows.append(_row(state, _change(state, earlier.get(name)), reasons.get(name, ""), others))
    names = {row.name for row in rows}
    rows += [_row(state, Change.DELETED, "", ()) for name, state in earlier.items() if name not in names]
    return sorted(rows, key=lambda row: _FIRST[row.change])


def states_by_name(manifest: Manifest) -> dict[str, VariableState]:
    """All names of a manifest: those that are only among what was dropped, or bound to modules, too."""
    states = {state.name: state for state in manifest.variables}
    files = {file.path for file in manifest.files}
    for dropped in manifest.dropped:
        if dropped.name not in states and dropped.name.isidentifier() and dropped.name not in files:
            states[dropped.name] = VariableState(name=dropped.name, type=dropped.type)
    for name, module in manifest.modules.items():
        states.setdefault(name, VariableState(name=name, type="module", preview=module, digest=f"module {module}"))
    return states


def dropped_files(manifest: Manifest) -> list[Dropped]:
    """What was dropped and is no variable: files of the workspace."""
    names = states_by_name(manifest)
    return [dropped for dropped in manifest.dropped if dropped.name not in names]


def _change(now: VariableState, before: VariableState | None) -> Change:
    if before is None:
        return Change.ADDED
    if not now.digest or not before.digest:
        return Change.UNSURE
    return Change.UNCHANGED if now.digest == before.digest else Change.CHANGED


def _row(state: VariableState, change: Change, reason: str, shares: tuple[str, ...]) -> VariableRow:
    return VariableRow(
        name=state.name,
        type=state.type,
        size=state.size,
        preview=state.preview,
        size_bytes=state.size_bytes,
        change=change,
        held=bool(state.digest) and not reason and change is not Change.DELETED,
        reason=reason,
        shares=shares,
    )
