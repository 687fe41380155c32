"""Write the variables of a REPL down as a manifest: only what may have changed is looked at, only what did is stored.

Runs in a process of its own (`writer`), for pickling runs code of the session. What came of the capture before, the base,
tells what is stored already:

1. Candidates: variables that code since the base names, or reaches through functions; and whatever is in one piece with
   those. Immutable ones that are still the same object, and others with the same plain pickle, have not changed.
2. What changed is pickled, each variable by itself. Variables that met the same mutable object belong together.
3. Those are pickled together, as one piece, so that two names for one list stay one list.
"""

from __future__ import annotations

import sys

from sandboxes.runner.byvalue import NotHeld, cloud, facts_of
from sandboxes.runner.contentdigest import content_digest
from sandboxes.runner.namespace import class_name
from sandboxes.runner.pickles import PICKLE_BLOCK_BYTES, Leaves, Pickled, make_pickling, said, value_table
from sandboxes.runner.sharing import Sharing
from sandboxes.runner.tracking import IMMUTABLE_TYPES, names_in
from sandboxes.runner.wire import clean, clip, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from sandboxes.runner.surroundings import Surroundings
    from sandboxes.runner.tracking import Tracker

MANIFEST_VERSION = 1
EXAMINE_ALL_EVERY = 16
REASON_CHARS = 300
NAME_CHARS = 200
DESCRIBED_PREVIEW_CHARS = 200
_FLAT = frozenset((str, bytes, int, float, complex, bool, type(None)))


class Capture:
    """One capture. `sink(sha256, data)` takes contents; `progress(name)` is told whose code may run next."""

    def __init__(
        self,
        values: dict[str, Any],
        tracker: Tracker,
        surroundings: Surroundings,
        loaders: Any,
        known_leaves: dict[str, Any],
        sink: Callable[[str, bytes], None],
        progress: Callable[[str], None],
        describe: Callable[[str, Any], dict[str, str]],
    ) -> None:
        self._values = values
        self._tracker = tracker
        self._surroundings = surroundings
        self._sink = sink
        self._progress = progress
        self._describe = describe
        self._pickled = make_pickling(values, Leaves(known_leaves, self._put), loaders)
        self._sharing = Sharing(values)
        self._reducers = value_table(cloud(), loaders)
        self._own: dict[str, Pickled] = {}
        self._dropped: dict[str, list[str]] = {}

    def run(
        self,
        touched: set[str] | None,
        base: dict[str, Any] | None,
        base_id: str,
        unloaded: Iterable[str],
        exclude: dict[str, str],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(manifest, base of the next capture). `touched` None: anything may have changed."""
        base = base or {"count": 0, "variables": {}, "pieces": [], "modules": {}, "dropped": {}, "state": None}
        if base["count"] % EXAMINE_ALL_EVERY == EXAMINE_ALL_EVERY - 1:
            touched = None
        kind_of_module = type(sys)
        wanted = {name: value for name, value in self._values.items() if self._is_wanted(name)}
        bound = {name: value for name, value in wanted.items() if _can_be_named(name)}
        modules = {
            name: value.__name__
            for name, value in bound.items()
            if type(value) is kind_of_module and _is_imported(value)
        }
        names = {name for name in bound if name not in modules}
        unloaded = {name for name in unloaded if name not in bound}
        modules.update({name: module for name, module in base["modules"].items() if name in unloaded})
        for name, reason in exclude.items():
            if name in names:
                self._drop(name, reason)
        changed = self._changed(names, touched, base, base_id)
        groups, kept = self._grouped(changed, names, unloaded, base)
        pieces = [*kept, *(piece for group in groups if (piece := self._piece(group)) is not None)]
        variables = self._variables(pieces, base, changed)
        for name in sorted(unloaded):
            if name in base["dropped"]:
                self._dropped[name] = base["dropped"][name]
        state = self._state(base["state"])
        manifest = {
            "version": MANIFEST_VERSION,
            "python": sys.version.split()[0],
            "implementation": sys.implementation.name,
            "variables": [{key: value for key, value in each.items() if key != "plain"} for each in variables],
            "pieces": pieces,
            "modules": modules,
            "dropped": [
                {"name": name, "type": kind, "reason": reason} for name, (kind, reason) in sorted(self._dropped.items())
            ]
            + [
                {"name": clip(clean(name), NAME_CHARS), "reason": "names like this one are not held"}
                for name in sorted(wanted)
                if name not in bound
            ],
            "state": state,
        }
        following = {
            "count": base["count"] + 1,
            "variables": {each["name"]: each for each in variables},
            "pieces": pieces,
            "modules": modules,
            "dropped": self._dropped,
            "state": state,
        }
        return manifest, following

    def _is_wanted(self, name: Any) -> bool:
        return (
            type(name) is str
            and not (name.startswith("__") and name.endswith("__"))
            and self._tracker.is_captured(name)
        )

    # What changed -----------------------------------------------------------------------------------------------

    def _changed(self, names: set[str], touched: set[str] | None, base: dict[str, Any], base_id: str) -> set[str]:
        known, changed = base["variables"], set()
        candidates = sorted(self._candidates(names, touched, base))
        for name in candidates:
            if type(self._values[name]) not in IMMUTABLE_TYPES:
                self._progress(name)
                self._sharing.look_at(name)
        for name in candidates:
            value = self._values[name]
            if name in self._dropped:
                continue
            if type(value) is NotHeld:
                self._dropped[name] = list(facts_of(value)[1:])
            elif name not in known or not self._is_unchanged(name, value, known[name], base_id):
                changed.add(name)
        for name in names:
            if name not in known and name not in changed and name in base["dropped"] and name not in self._dropped:
                self._dropped[name] = base["dropped"][name]
        return changed

    def _candidates(self, names: set[str], touched: set[str] | None, base: dict[str, Any]) -> set[str]:
        if touched is None:
            return names
        of_piece = {name: piece for piece in base["pieces"] for name in piece["names"]}
        todo = [name for name in names if name in touched or (name not in of_piece and name not in base["dropped"])]
        # What is gone may have left its changes in what it shared a piece with.
        todo += [name for name in of_piece if name in touched and name not in names]
        found: set[str] = set()
        function = type(names_in)
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            piece = of_piece.get(name)
            if piece is not None:
                todo += piece["names"]
                todo += piece.get("reach", ())
            value = self._values.get(name)
            if type(value) is function and value.__globals__ is self._values:
                todo += names_in(value.__code__)
        return found & names

    def _is_unchanged(self, name: str, value: Any, known: dict[str, Any], base_id: str) -> bool:
        if type(value) in IMMUTABLE_TYPES:
            return self._tracker.is_same(name, base_id)
        if known.get("plain") is None:
            return False
        return bool(self._plain(name, value) == known["plain"])

    def _plain(self, name: str, value: Any) -> str | None:
        """A hash of the plain pickle, which is made at the speed of C, and of what objects it is of; None when it would
        not tell of every change: of classes and functions of the session, it has the names only."""
        import hashlib
        import pickle

        shared = self._sharing.of(name)
        if shared is None or isinstance(value, (type, type(names_in))):
            return None
        self._progress(name)
        try:
            buffers: list[Any] = []
            stream = pickle.dumps(value, 5, buffer_callback=buffers.append)
            if b"__main__" in stream:
                return None
            digest = hashlib.sha256(shared.encode() + stream)
            for buffer in buffers:
                digest.update(buffer.raw())
        except Exception:
            return None
        return digest.hexdigest()

    # What belongs together --------------------------------------------------------------------------------------

    def _grouped(
        self, changed: set[str], names: set[str], unloaded: set[str], base: dict[str, Any]
    ) -> tuple[list[list[str]], list[dict[str, Any]]]:
        """(groups of variables to pickle, pieces of the base that stay as they are)."""
        kept, loose = [], set(changed)
        for piece in base["pieces"]:
            members = piece["names"]
            if all(
                (name in names or name in unloaded) and name not in changed and name not in self._dropped
                for name in members
            ):
                kept.append(piece)
            else:
                loose.update(name for name in members if name in names)
        for name in sorted(loose):
            self._pickle_alone(name)
        met = {name: self._own[name].met for name in loose if name in self._own}
        self._join_kept(met, kept, names)
        return _components(met), kept

    def _join_kept(self, met: dict[str, dict[int, Any]], kept: list[dict[str, Any]], names: set[str]) -> None:
        """Pieces that share something with what is pickled anew are pickled anew with it."""
        seen = {address for objects in met.values() for address in objects}
        looked_at: dict[int, dict[str, dict[int, Any]]] = {}
        again = bool(seen)
        while again:
            again = False
            for piece in list(kept):
                if not all(name in names for name in piece["names"]):
                    continue  # not loaded: nothing can share with it
                mine = looked_at.get(id(piece))
                if mine is None:
                    mine = looked_at[id(piece)] = self._met_by(piece["names"])
                addresses = {address for objects in mine.values() for address in objects}
                if addresses & seen:
                    kept.remove(piece)
                    met.update(mine)
                    seen |= addresses
                    again = True

    def _met_by(self, members: list[str]) -> dict[str, dict[int, Any]]:
        found: dict[str, dict[int, Any]] = {}
        for name in members:
            value = self._values[name]
            if type(value) in IMMUTABLE_TYPES:
                found[name] = {}
            elif _is_flat(value):
                found[name] = {id(value): value}
            else:
                self._pickle_alone(name)
                found[name] = self._own[name].met if name in self._own else {}
        return found

    def _pickle_alone(self, name: str) -> None:
        if name in self._own or name in self._dropped:
            return
        value = self._values[name]
        if type(value) is NotHeld:
            self._dropped[name] = list(facts_of(value)[1:])
            return
        self._progress(name)
        try:
            self._own[name] = self._pickled({name: value})
        except RecursionError:
            self._drop(name, "it is nested too deeply")
        except Exception as error:
            self._drop(name, said(error))

    def _drop(self, name: str, reason: str) -> None:
        kind = type(self._values[name])
        self._dropped[name] = [clip(clean(class_name(kind)), 100), clip(clean(reason), REASON_CHARS)]

    # What is stored ---------------------------------------------------------------------------------------------

    def _piece(self, group: list[str]) -> dict[str, Any] | None:
        group = [name for name in group if name not in self._dropped]
        if not group:
            return None
        if len(group) > 1:
            self._progress(group[0])
            try:
                pickled = self._pickled({name: self._values[name] for name in group})
            except Exception as error:
                for name in group:
                    self._drop(name, said(error))
                return None
        else:
            self._pickle_alone(group[0])
            if group[0] in self._dropped:
                return None
            pickled = self._own[group[0]]
        descriptor: dict[str, Any] = {"blocks": self._blocks(pickled.stream)}
        if pickled.buffers:
            descriptor["buffers"] = [self._blocks(buffer) for buffer in pickled.buffers]
        if pickled.leaves:
            descriptor["leaves"] = pickled.leaves
        piece: dict[str, Any] = {
            "names": group,
            "blob": self._put(to_json(descriptor).encode()),
            "size_bytes": pickled.size_bytes,
        }
        reach = sorted(clean(name) for name in pickled.reach if len(name) <= 200)
        if reach:
            piece["reach"] = reach
        return piece

    def _blocks(self, data: Any) -> list[str]:
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        return [
            self._put(view[start : start + PICKLE_BLOCK_BYTES]) for start in range(0, len(view), PICKLE_BLOCK_BYTES)
        ]

    def _put(self, data: Any) -> str:
        import hashlib

        sha256 = hashlib.sha256(data).hexdigest()
        self._sink(sha256, data)
        return sha256

    def _variables(self, pieces: list[dict[str, Any]], base: dict[str, Any], changed: set[str]) -> list[dict[str, Any]]:
        found = []
        for piece in pieces:
            for name in piece["names"]:
                known = base["variables"].get(name)
                if known is not None and name not in changed and (name not in self._own or "plain" in known):
                    found.append(known)
                else:
                    found.append(self._variable(name))
        return sorted(found, key=lambda each: str(each["name"]))

    def _variable(self, name: str) -> dict[str, Any]:
        value, pickled = self._values[name], self._own[name]
        self._progress(name)
        try:
            digest = content_digest(value, pickled.size_bytes, pickled.stream, self._reducers)
        except Exception:
            import hashlib

            digest = hashlib.sha256(b"p" + pickled.stream).hexdigest()
        shown = self._describe(name, value)
        plain = None if type(value) in IMMUTABLE_TYPES else self._plain(name, value)
        leaves_bytes = sum(len(each) for each in (value,) if type(value) in (str, bytes))
        return {
            "name": name,
            "type": shown["type"],
            "size": shown["size"],
            "preview": shown["preview"][:DESCRIBED_PREVIEW_CHARS],
            "digest": digest,
            "size_bytes": max(pickled.size_bytes, leaves_bytes),
            "plain": plain,
        }

    # Beside the variables ---------------------------------------------------------------------------------------

    def _state(self, before: str | None) -> str | None:
        """What code depends on beside variables, as one content; `before` when it cannot be written down."""
        import pickle

        try:
            return self._put(pickle.dumps(self._surroundings.written_down(), 5))
        except Exception:
            return before


def _is_imported(module: Any) -> bool:
    name = module.__dict__.get("__name__")
    return _can_be_named(name) and sys.modules.get(name) is module


def _can_be_named(name: Any) -> bool:
    """Is it a name that a manifest can hold?"""
    return type(name) is str and len(name) <= NAME_CHARS and clean(name) == name


def _is_flat(value: Any) -> bool:
    """A list, tuple or dict of nothing but atoms."""
    if type(value) in (list, tuple, set, frozenset):
        return _FLAT.issuperset(map(type, value))
    return type(value) is dict and _FLAT.issuperset(map(type, value.values())) and _FLAT.issuperset(map(type, value))


def _components(met: dict[str, dict[int, Any]]) -> list[list[str]]:
    """Names that are joined by objects which two of them met, together; each group and their list in order."""
    above = {name: name for name in met}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    owner: dict[int, str] = {}
    for name, objects in met.items():
        for address in objects:
            other = owner.setdefault(address, name)
            if other != name:
                above[top(name)] = top(other)
    groups: dict[str, list[str]] = {}
    for name in met:
        groups.setdefault(top(name), []).append(name)
    return sorted(sorted(group) for group in groups.values())
