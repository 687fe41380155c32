"""Bring a namespace to the state of a manifest: piece by piece, when code first names a variable of it.

Every content is compared with its hash before it is unpickled.
"""

from __future__ import annotations

import sys

from sandboxes.runner.byvalue import NotHeld
from sandboxes.runner.pickles import make_unpickling, said
from sandboxes.runner.surroundings import set_pending
from sandboxes.runner.tracking import REFLECTION, names_in
from sandboxes.runner.wire import from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from sandboxes.runner.surroundings import Surroundings


class OtherPython(Exception):
    """The snapshot was made by another version of Python."""


class Damaged(Exception):
    """A content is not what its hash says."""


class Restorer:
    """`have(sha256)` gives a context that the REPL holds, or None; `fetch(hashes)` gives contents, unchecked."""

    def __init__(
        self,
        values: dict[str, Any],
        manifest: dict[str, Any],
        have: Callable[[str], Any],
        fetch: Callable[[list[str]], dict[str, bytes]],
        surroundings: Surroundings,
    ) -> None:
        """Raises `OtherPython`."""
        _check_version(manifest)
        self._values = values
        self._have = have
        self._fetch = fetch
        self._leaves: dict[tuple[str, str], Any] = {}
        self._contents: dict[str, bytes] = {}
        self._piece_of = {name: piece for piece in manifest.get("pieces", []) for name in piece["names"]}
        self._unpickled = make_unpickling(values, self._leaf)
        self.unloaded: dict[str, dict[str, Any]] = {
            each["name"]: each for each in manifest.get("variables", []) if each["name"] in self._piece_of
        }
        self._modules: dict[str, str] = dict(manifest.get("modules", {}))
        self.unloaded.update({name: {"name": name, "type": "module"} for name in self._modules})
        self.base = _base_of(manifest)
        self._surroundings = surroundings
        self._state: dict[str, Any] = {}
        self._begin(manifest)

    def _begin(self, manifest: dict[str, Any]) -> None:
        """What is not loaded later: what was not held, what is beside the variables."""
        for name in list(self.unloaded):
            self._values.pop(name, None)  # contexts that the setup loaded come from the manifest, if it has them
        for each in manifest.get("dropped", []):
            if str(each["name"]).isidentifier():
                self._values[each["name"]] = NotHeld(each["name"], each.get("type", ""), each.get("reason", ""))
        if manifest.get("state"):
            self._state = self._unpickled(self._checked([manifest["state"]])[manifest["state"]], [])
            self._surroundings.bring_back(self._state)

    def files_are_back(self) -> None:
        self._surroundings.enter_folder(self._state)

    # Loading ----------------------------------------------------------------------------------------------------

    def needed_for(self, code: Any) -> list[str]:
        """Variables, not loaded, that `code` (compiled) can reach."""
        set_pending()
        names = names_in(code)
        if names & REFLECTION:
            return list(self.unloaded)
        todo = [name for name in names | _texts_in(code) if name in self.unloaded or name in self._values]
        found: set[str] = set()
        function = type(_check_version)
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            piece = self._piece_of.get(name)
            if piece is not None:
                todo += piece.get("reach", ())
                todo += piece["names"] if name in self.unloaded else ()
            value = self._values.get(name)
            if type(value) is function and value.__globals__ is self._values:
                todo += names_in(value.__code__)
        return [name for name in found if name in self.unloaded]

    def load_all(self) -> None:
        self.load(list(self.unloaded))

    def load(self, names: Iterable[str]) -> None:
        """Load the pieces of these variables. Raises `Damaged`, and what unpickling raises."""
        names = list(names)
        for name in names:
            if name in self._modules and name in self.unloaded:
                self._import(name, self._modules[name])
        pieces = {id(piece): piece for name in names if (piece := self._piece_of.get(name)) and name in self.unloaded}
        descriptors = self._checked([piece["blob"] for piece in pieces.values()])
        parts = {sha256: from_json(data.decode()) for sha256, data in descriptors.items()}
        wanted: dict[str, None] = {}
        for part in parts.values():
            wanted.update(dict.fromkeys(part["blocks"]))
            for buffer in part.get("buffers", ()):
                wanted.update(dict.fromkeys(buffer))
            wanted.update(dict.fromkeys(sha for sha in part.get("leaves", ()) if self._have(sha) is None))
        self._contents = self._checked(list(wanted))
        try:
            for piece in pieces.values():
                self._load(piece, parts[piece["blob"]])
        finally:
            self._contents, self._leaves = {}, {}
            set_pending()

    def _import(self, name: str, module: str) -> None:
        del self.unloaded[name]
        try:
            __import__(module)
            self._values[name] = sys.modules[module]
        except Exception as error:
            reason = f"{module} cannot be imported here: {type(error).__name__}"
            self._values[name] = NotHeld(name, "module", reason)

    def _load(self, piece: dict[str, Any], part: dict[str, Any]) -> None:
        stream = b"".join([self._contents[sha] for sha in part["blocks"]])
        buffers = [bytearray(b"".join([self._contents[sha] for sha in each])) for each in part.get("buffers", ())]
        try:
            loaded = self._unpickled(stream, buffers)
        except (Damaged, MemoryError):
            raise
        except Exception as error:
            # Code of the session, or a library that is another one here. Whatever else the snapshot holds is there.
            loaded = {name: self._not_held(name, error) for name in piece["names"]}
        for name in piece["names"]:
            if name in self.unloaded:
                self._values[name] = loaded[name]
                del self.unloaded[name]

    def _not_held(self, name: str, error: Exception) -> NotHeld:
        kind = str(self.unloaded.get(name, {}).get("type", ""))
        return NotHeld(name, kind, f"bringing it back raised {said(error)}")

    def _leaf(self, kind: str, sha256: str) -> Any:
        known = self._have(sha256)
        if known is not None and type(known) is (str if kind == "t" else bytes):
            return known
        leaf = self._leaves.get((kind, sha256))
        if leaf is None:
            data = self._contents[sha256] if sha256 in self._contents else self._checked([sha256])[sha256]
            leaf = self._leaves[kind, sha256] = data.decode("utf-8", "surrogatepass") if kind == "t" else bytes(data)
        return leaf

    def _checked(self, hashes: list[str]) -> dict[str, bytes]:
        import hashlib

        contents = self._fetch(hashes) if hashes else {}
        for sha256 in hashes:
            if hashlib.sha256(contents[sha256]).hexdigest() != sha256:
                raise Damaged(f"the content {sha256} of the snapshot is damaged: it was changed where it is stored")
        return contents


def _check_version(manifest: dict[str, Any]) -> None:
    made, here = str(manifest.get("python", "")), sys.version.split()[0]
    implementation = str(manifest.get("implementation", "cpython"))
    if made.split(".")[:2] != here.split(".")[:2] or implementation != sys.implementation.name:
        raise OtherPython(
            f"the snapshot was made by {implementation} {made}, this is {sys.implementation.name} {here}: restore it"
            " where the sandboxes run that version"
        )


def _texts_in(code: Any) -> set[str]:
    """Short texts in the code: they may be names of variables."""
    found: set[str] = set()
    todo = [code]
    while todo:
        for constant in todo.pop().co_consts:
            if type(constant) is str and len(constant) <= 200:
                found.add(constant)
            elif type(constant) is type(code):
                todo.append(constant)
    return found


def _base_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the next capture is compared with: everything is stored, and nothing has been looked at."""
    return {
        "count": 0,
        "variables": {each["name"]: {"plain": None, **each} for each in manifest.get("variables", [])},
        "pieces": [dict(piece) for piece in manifest.get("pieces", [])],
        "dropped": {
            each["name"]: [each.get("type", ""), each.get("reason", "")] for each in manifest.get("dropped", [])
        },
        "modules": dict(manifest.get("modules", {})),
        "state": manifest.get("state"),
    }
