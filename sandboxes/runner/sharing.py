"""Which objects a variable holds, by their addresses: two variables may share other objects than before and be equal to
what they were. The addresses are those of one process and its forks."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_OBJECTS = 1_000_000
"""Of a variable with more containers than this, and of what does not fit in memory, nothing is known."""
_LEAVES = frozenset((str, bytes, int, float, complex, bool, type(None), range, type(sys), bytearray))


class Sharing:
    """Variables are looked at before any of them is pickled: pickling makes dictionaries of attributes."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._skipped = {id(module.__dict__) for module in list(sys.modules.values()) if type(module) is type(sys)}
        self._skipped.add(id(values))
        self._known: dict[str, str | None] = {}
        numpy = sys.modules.get("numpy")
        self._array = numpy.__dict__.get("ndarray") if numpy is not None else None

    def look_at(self, name: str) -> None:
        if name not in self._known:
            try:
                self._known[name] = self._of(self._values[name])
            except Exception:
                self._known[name] = None  # too large, or an array of a class with code of its own

    def of(self, name: str) -> str | None:
        """A hash; None when not everything can be seen."""
        self.look_at(name)
        return self._known[name]

    def _of(self, value: Any) -> str | None:
        import gc
        import hashlib
        from array import array

        digest = hashlib.sha256()
        seen: set[int] = set()
        level = [value]
        while level:
            following: list[Any] = []
            for each in level:
                kind = type(each)
                if kind in _LEAVES or id(each) in seen or id(each) in self._skipped or issubclass(kind, type):
                    continue
                seen.add(id(each))
                following.append(each)
                if self._array is not None and issubclass(kind, self._array):
                    if each.dtype.hasobject:
                        return None
                    following.append(each.base)
            if len(seen) > MOST_OBJECTS:
                return None
            digest.update(array("Q", [id(each) for each in following]))
            level = gc.get_referents(*following)
        return digest.hexdigest()
