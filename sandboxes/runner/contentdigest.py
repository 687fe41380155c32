"""What a variable holds, as one hash: equal values have equal digests, whatever objects they share with others.

Pickles do not serve for that: two equal lists differ in theirs when one of them holds the same text twice and the other
two equal texts. Plain data is pickled without a memo, at the speed of C; what holds sets or objects is walked through.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_STEPS = 2_000_000
ROOM_FACTOR = 8
ROOM_BYTES = 1024 * 1024
_SET_OPCODES = (b"\x8f", b"\x91")
_SCALARS = (int, float, complex, bool, type(None), type(Ellipsis))


class _TooMuch(Exception):
    """Without a memo the value is far larger than it is: it holds the same things again and again."""


class _Bounded:
    """A file that hashes what is written, up to a limit, and remembers whether a set was in it."""

    def __init__(self, digest: Any, room: int) -> None:
        self._digest = digest
        self._room = room
        self.may_hold_sets = False

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise _TooMuch
        piece = bytes(data)
        self.may_hold_sets = self.may_hold_sets or any(opcode in piece for opcode in _SET_OPCODES)
        self._digest.update(piece)
        return len(piece)


def content_digest(value: Any, size_bytes: int, pickled: bytes, reducers: Any) -> str:
    """`pickled` is the value's own pickle of `size_bytes`: what identifies a value that cannot be taken apart.
    `reducers` of pickling, by exact type, tell what values of these types are made of."""
    import hashlib

    kind = type(value)
    if kind in (str, bytes):
        data = value.encode("utf-8", "surrogatepass") if kind is str else value
        return hashlib.sha256((b"t" if kind is str else b"b") + data).hexdigest()
    plain = _plain_digest(value, size_bytes)
    if plain is not None:
        return plain
    digest = hashlib.sha256(b"w")
    try:
        _Walk(digest, reducers).add(value)
    except _TooMuch:
        return hashlib.sha256(b"p" + pickled).hexdigest()
    return str(digest.hexdigest())


def _plain_digest(value: Any, size_bytes: int) -> str | None:
    """Of plain data without sets and cycles; None for everything else."""
    import hashlib
    import pickle

    if type(value) not in (list, tuple, dict, *_SCALARS) or not _is_plain(value):
        return None
    digest = hashlib.sha256(b"m")
    file = _Bounded(digest, ROOM_FACTOR * size_bytes + ROOM_BYTES)
    try:
        pickler = pickle.Pickler(file, 5)
        pickler.fast = True
        pickler.dump(value)
    except Exception:
        return None  # a cycle, or too much of the same
    return None if file.may_hold_sets else str(digest.hexdigest())


def _is_plain(value: Any) -> bool:
    """Is it of exact built-in types down to a few levels? Then pickling it runs no code of the session's."""
    kinds = {list, tuple, dict, str, bytes, *_SCALARS}
    level = [value]
    for _ in range(6):
        following: list[Any] = []
        for each in level:
            if type(each) is dict:
                following.extend(each.values())
                if not set(map(type, each)) <= {str, int, float, bool, bytes, tuple, type(None)}:
                    return False
            elif type(each) in (list, tuple):
                following.extend(each)
        found = set(map(type, following))
        if not found <= kinds:
            return False
        if not found & {list, tuple, dict}:
            return True
        level = [each for each in following if type(each) in (list, tuple, dict)]
        if len(level) > MOST_STEPS:
            return False
    return False


class _Walk:
    """Feeds a value to a hash, part by part, each with its kind and length."""

    def __init__(self, digest: Any, reducers: Any, above: tuple[int, ...] = ()) -> None:
        self._digest = digest
        self._reducers = reducers
        self._above = list(above)
        self._left = MOST_STEPS

    def add(self, value: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        kind = type(value)
        if kind in (str, bytes, bytearray):
            data = value.encode("utf-8", "surrogatepass") if kind is str else bytes(value)
            self._say(f"{kind.__name__} {len(data)}", data)
        elif kind in _SCALARS:
            self._say("scalar", repr(value).encode())
        elif id(value) in self._above:
            self._say("above", str(len(self._above) - self._above.index(id(value))).encode())
        else:
            self._above.append(id(value))
            try:
                self._parts(value, kind)
            finally:
                self._above.pop()

    def _parts(self, value: Any, kind: type) -> None:
        import types

        if kind in (list, tuple):
            self._say(f"{kind.__name__} {len(value)}")
            for each in value:
                self.add(each)
        elif kind is dict:
            self._say(f"dict {len(value)}")
            for key, each in value.items():
                self.add(key)
                self.add(each)
        elif kind in (set, frozenset):
            self._say(f"set {len(value)}")
            for one in sorted(self._alone(each) for each in value):
                self._digest.update(one)
        elif kind is types.CodeType:
            self._say("code", value.co_code)
            for each in (value.co_consts, value.co_names, value.co_varnames, value.co_freevars, value.co_name):
                self.add(each)
        elif kind is types.FunctionType:
            self._say("function")
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            for each in (value.__code__, value.__defaults__, value.__kwdefaults__, value.__dict__, cells):
                self.add(each)
        elif isinstance(value, type):
            self._class(value)
        elif kind is types.ModuleType:
            self._say("module", value.__name__.encode())
        else:
            self._object(value, kind)

    def _class(self, value: type) -> None:
        self._say("class", f"{value.__module__}.{value.__qualname__}".encode())
        if value.__module__ == "__main__":
            self.add(value.__bases__)
            skipped = ("__dict__", "__weakref__", "__doc__", "__firstlineno__", "_abc_impl", "__slotnames__")
            self.add({name: each for name, each in value.__dict__.items() if name not in skipped})

    def _object(self, value: Any, kind: type) -> None:
        """By what it says of itself for copying; raises what its code raises."""
        numpy = _numpy()
        if numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
            self._say("array", f"{value.dtype.str} {value.shape}".encode())
            self._digest.update(numpy.ascontiguousarray(value).tobytes())
            return
        reducer = self._reducers.get(kind)
        reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        self._say("object", f"{kind.__module__}.{kind.__qualname__}".encode())
        if isinstance(reduced, str):
            self._say("name", reduced.encode())
            return
        if kind.__module__ == "__main__":
            self.add(kind)
        self.add(tuple(each for each in reduced[1] if each is not kind))
        self.add(reduced[2] if len(reduced) > 2 else None)
        for each in reduced[3:5]:
            self.add(list(each) if each is not None else None)

    def _alone(self, value: Any) -> bytes:
        import hashlib

        digest = hashlib.sha256()
        walk = _Walk(digest, self._reducers, tuple(self._above))
        walk._left = self._left
        walk.add(value)
        self._left = walk._left
        return digest.digest()

    def _say(self, what: str, data: bytes = b"") -> None:
        self._digest.update(f"{what}\n{len(data)}\n".encode())
        self._digest.update(data)


def _numpy() -> Any:
    import sys

    return sys.modules.get("numpy")
