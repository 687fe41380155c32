"""Whether two values are the same graph of objects: equal contents, and shared where the other is shared."""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import fractions
import pathlib
import re
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

_ATOMS = (str, bytes, int, float, complex, bool, type(None), range, slice, type(Ellipsis), type(NotImplemented))
_UNCHANGING = (
    *(tuple, frozenset, datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal),
    *(
        fractions.Fraction,
        datetime.tzinfo,
        pathlib.PurePath,
        uuid.UUID,
        re.Match,
        re.Pattern,
        types.CodeType,
        types.GenericAlias,
    ),
)
_OF_CLASSES = frozenset(
    ("__dict__", "__weakref__", "__module__", "__qualname__", "_abc_impl", "__firstlineno__", "__slotnames__")
)


class Difference(AssertionError):
    """Where two graphs differ."""


def assert_same(left: Any, right: Any, path: str = "") -> None:
    """Raises `Difference`. Immutable values need to be equal only, not shared."""
    pairs = _Pairs()
    todo: list[tuple[str, Any, Any]] = [(path, left, right)]
    while todo:
        where, a, b = todo.pop()
        todo.extend(pairs.compare(where, a, b))


class _Pairs:
    """Pairs each object of the one graph with the one at its place in the other."""

    def __init__(self) -> None:
        self._right_of: dict[int, Any] = {}
        self._left_of: dict[int, Any] = {}

    def compare(self, path: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
        """What is left to compare below."""
        kind = type(a)
        if _name(kind) != _name(type(b)):
            raise Difference(f"{path}: {_name(kind)} and {_name(type(b))}")
        if kind in _ATOMS:
            if (a != b and not (a != a and b != b)) or repr(a) != repr(b):
                raise Difference(f"{path}: {a!r} and {b!r}")
            return []
        if id(a) in self._right_of or id(b) in self._left_of:
            if issubclass(kind, _UNCHANGING):  # equal ones may have become one, and the other way round
                return [] if self._right_of.get(id(a)) is b else self._below(path, a, b, kind)
            if self._right_of.get(id(a)) is not b:
                raise Difference(f"{path}: shared in one only ({kind.__name__})")
            return []
        self._right_of[id(a)], self._left_of[id(b)] = b, a
        return self._below(path, a, b, kind)

    def _below(self, path: str, a: Any, b: Any, kind: type) -> list[tuple[str, Any, Any]]:
        import numpy
        import pandas

        if isinstance(a, type):
            return self._classes(path, a, b)
        if kind is types.ModuleType:
            return [(f"{path}.__name__", a.__name__, b.__name__)]
        if kind is types.FunctionType:
            return _functions(path, a, b)
        if isinstance(a, pathlib.PurePath):
            _require(path, a == b)
            return []
        if kind in (classmethod, staticmethod):
            return [(f"{path}.__func__", a.__func__, b.__func__)]
        if kind in (weakref.WeakKeyDictionary, weakref.WeakValueDictionary):
            return [(f"{path}.items()", list(a.items()), list(b.items()))]
        if kind is types.CodeType:
            return _codes(path, a, b)
        if kind is types.CellType:
            return [(f"{path}.cell", _content(a), _content(b))]
        if isinstance(a, numpy.ndarray) and not a.dtype.hasobject:
            _require(path, a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
            return []
        if isinstance(a, (pandas.DataFrame, pandas.Series, pandas.Index)):
            _require(path, a.equals(b))
            return []
        found: list[tuple[str, Any, Any]] = []
        if isinstance(a, (list, tuple, collections.deque)):
            _require(f"len({path})", len(a) == len(b))
            found += [(f"{path}[{at}]", x, y) for at, (x, y) in enumerate(zip(a, b, strict=True))]
        elif isinstance(a, dict):
            _require(f"len({path})", len(a) == len(b))
            for at, (x, y) in enumerate(zip(dict.items(a), dict.items(b), strict=True)):
                found += [(f"{path} key {at}", x[0], y[0]), (f"{path}[{x[0]!r:.20}]", x[1], y[1])]
        elif isinstance(a, (set, frozenset)):
            _require(f"len({path})", len(a) == len(b))
            both = zip(sorted(a, key=_sortable), sorted(b, key=_sortable), strict=True)
            found += [(f"{path} element", x, y) for x, y in both]
        elif not hasattr(a, "__dict__") and not _slots(kind):
            return _opaque(path, a, b)
        return found + _attributes(path, a, b)

    def _classes(self, path: str, a: type, b: type) -> list[tuple[str, Any, Any]]:
        _require(f"{path} name", (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__))
        if a.__module__ != "__main__":
            _require(path, a is b)
            return []
        x = {name: each for name, each in a.__dict__.items() if name not in _OF_CLASSES and not _is_descriptor(each)}
        y = {name: each for name, each in b.__dict__.items() if name not in _OF_CLASSES and not _is_descriptor(each)}
        _require(f"{path} attributes {set(x) ^ set(y)}", set(x) == set(y))
        found = [(f"{path}.{name}", x[name], y[name]) for name in x if name != "__annotations_cache__"]
        return [*found, (f"{path}.__bases__", a.__bases__, b.__bases__)]


def _functions(path: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    names = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__dict__")
    found = _codes(f"{path}.__code__", a.__code__, b.__code__)
    found += [(f"{path}.{name}", getattr(a, name), getattr(b, name)) for name in (*names, "__annotations__")]
    return [*found, (f"{path}.__closure__", a.__closure__, b.__closure__)]


def _codes(path: str, a: types.CodeType, b: types.CodeType) -> list[tuple[str, Any, Any]]:
    """Part by part: CPython 3.11 takes code that has run for another than the same that has not."""
    names = [name for name in dir(a) if name.startswith("co_") and not callable(getattr(a, name))]
    return [(f"{path}.{name}", getattr(a, name), getattr(b, name)) for name in names if name != "co_lnotab"]


def _attributes(path: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    found = []
    if hasattr(a, "__dict__"):
        found.append((f"{path}.__dict__", a.__dict__, b.__dict__))
    for name in _slots(type(a)):
        _require(f"{path}.{name} is set", hasattr(a, name) == hasattr(b, name))
        if hasattr(a, name):
            found.append((f"{path}.{name}", getattr(a, name), getattr(b, name)))
    return found


def _opaque(path: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    """Objects of C: by what they say of themselves for copying, else by their repr."""
    try:
        x, y = a.__reduce_ex__(4), b.__reduce_ex__(4)
    except TypeError:
        _require(f"{path}: {a!r} and {b!r}", _sortable(a) == _sortable(b))
        return []
    if isinstance(x, str) or isinstance(y, str):
        return [(f"{path} name", x, y)]
    if len(x) != len(y) and isinstance(a, Iterator):
        return [(f"{path} rest", list(copy.copy(a)), list(copy.copy(b)))]  # exhausted ones do not tell of their list
    below = [(f"{path} {at}", p, q) for at, (p, q) in enumerate(zip(x[1:3], y[1:3], strict=True))]
    parts = [each and list(each) for each in (*x[3:5], *y[3:5])]
    half = len(parts) // 2
    return [*below, (f"{path} parts", parts[:half], parts[half:])]


def _content(cell: Any) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def _is_descriptor(value: Any) -> bool:
    return isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))


def _sortable(value: Any) -> str:
    return re.sub(r"0x[0-9a-f]+", "", f"{type(value).__name__} {value!r}")


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _require(what: str, holds: Any) -> None:
    if not holds:
        raise Difference(what)
