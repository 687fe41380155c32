"""In the REPL: which variables a cell may have changed, without looking at them and without running code of theirs.

What code can reach is told by the global names in it; a snapshot then examines only variables of those names, and what
they lead to. Code that reaches variables in other ways (`globals()`, `exec`, `gc`...) makes the next snapshot look at
everything. A change through a path that no name tells of (a thread, a cache in a library) is found by the snapshots that
examine everything anyway, every `capture.EXAMINE_ALL_EVERY`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

REFLECTION = frozenset(
    (
        *("globals", "locals", "vars", "exec", "eval", "compile", "__import__", "gc", "inspect", "sys", "__dict__"),
        *("__main__", "__globals__", "importlib", "ctypes", "modules", "f_globals", "f_back", "_getframe", "setattr"),
    )
)
"""Names that can reach variables whose names are not in the code."""
KEPT_MARKS = 64
KEPT_OBJECTS = 4
"""Of so many latest snapshots the immutable values are remembered. Remembering keeps them alive."""
IMMUTABLE_TYPES = (str, bytes, int, float, complex, bool, type(None), range, type(Ellipsis))


def names_in(code: Any, found: set[str] | None = None) -> set[str]:
    """Global and attribute names in a code object and the code objects within it."""
    found = set() if found is None else found
    todo = [code]
    while todo:
        part = todo.pop()
        found.update(part.co_names)
        for constant in part.co_consts:
            if type(constant) is type(code):
                todo.append(constant)
    return found


class Epoch:
    """What happened after one snapshot and before the next."""

    def __init__(self, snapshot: str, held: dict[str, Any]) -> None:
        self.snapshot = snapshot
        self.held = held
        self.names: set[str] = set()
        self.everything = False


class Tracker:
    def __init__(self, values: dict[str, Any], is_captured: Callable[[str], bool]) -> None:
        self.values = values
        self.is_captured = is_captured
        self._epochs = [Epoch("", {})]

    def note_cell(self, code: Any) -> None:
        """`code`, compiled, is about to run."""
        epoch = self._epochs[-1]
        names = names_in(code)
        epoch.names |= names
        if names & REFLECTION:
            epoch.everything = True

    def mark(self, snapshot: str) -> None:
        """Right before the fork of `snapshot`: what is the same object afterwards is unchanged if it is immutable."""
        values = self.values
        held = {
            name: value
            for name, value in values.items()
            if type(value) in IMMUTABLE_TYPES and type(name) is str and self.is_captured(name)
        }
        self._epochs.append(Epoch(snapshot, held))
        del self._epochs[:-KEPT_MARKS]
        for epoch in self._epochs[-KEPT_OBJECTS:-1]:
            # What is bound to something else by now is kept alive by us alone, and tells nothing any more.
            gone = [name for name, value in epoch.held.items() if values.get(name) is not value]
            for name in gone:
                del epoch.held[name]
        for epoch in self._epochs[:-KEPT_OBJECTS]:
            epoch.held = {}

    def since(self, snapshot: str) -> set[str] | None:
        """Names that cells run after `snapshot` mention; None: they may have changed anything."""
        found: set[str] = set()
        for epoch in reversed(self._epochs):
            if epoch.everything:
                return None
            found |= epoch.names
            if epoch.snapshot == snapshot:
                return found
        return None

    def is_same(self, name: str, snapshot: str) -> bool:
        """Whether the variable is the very immutable object that it was at `snapshot`."""
        for epoch in reversed(self._epochs):
            if epoch.snapshot == snapshot:
                missing = Epoch
                return epoch.held.get(name, missing) is self.values.get(name)
        return False
