"""Capture and restore without processes: namespaces of a REPL, one snapshot after the other, in this very process."""

from __future__ import annotations

import marshal
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sandboxes.manifest import Manifest, decode_manifest
from sandboxes.runner.byvalue import LOADER_MODULE, install_loaders
from sandboxes.runner.capture import Capture
from sandboxes.runner.namespace import _describe
from sandboxes.runner.restoring import Restorer
from sandboxes.runner.surroundings import Surroundings
from sandboxes.runner.tracking import Tracker
from sandboxes.runner.wire import to_json

SWAPPED = ("__main__", LOADER_MODULE)


class Box:
    """A namespace that runs cells, and the results of its snapshots. `store` is shared with what is restored from it."""

    def __init__(self, store: dict[str, bytes] | None = None) -> None:
        self.store: dict[str, bytes] = {} if store is None else store
        self.contexts: dict[str, Any] = {}
        self.stored: list[str] = []
        """Contents that the latest snapshot brought."""
        self.asked: list[str] = []
        self.at: list[str] = []
        """Variables whose code could run in the latest snapshot, in order."""
        main = types.ModuleType("__main__")
        self.values = main.__dict__
        with _kept_modules():
            self.loaders = install_loaders(self.values)
        self._modules = {"__main__": main, LOADER_MODULE: self.loaders}
        self.tracker = Tracker(self.values, lambda name: name != "__builtins__")
        self.surroundings = Surroundings(os.getcwd(), self.values)
        self.restorer: Restorer | None = None
        self._base: Any = None
        self._count = 0

    @contextmanager
    def as_main(self) -> Iterator[dict[str, Any]]:
        """This namespace is the main module meanwhile."""
        with _kept_modules():
            sys.modules.update(self._modules)
            yield self.values

    def run(self, code: str) -> None:
        compiled = compile(code, "<cell>", "exec", dont_inherit=True)
        with self.as_main():
            self._prepare(compiled)
            exec(compiled, self.values)  # noqa: S102

    def eval(self, expression: str) -> Any:
        compiled = compile(expression, "<cell>", "eval", dont_inherit=True)
        with self.as_main():
            self._prepare(compiled)
            return eval(compiled, self.values)  # noqa: S307

    def _prepare(self, code: types.CodeType) -> None:
        if self.restorer is not None:
            self.restorer.load(self.restorer.needed_for(code))
        self.tracker.note_cell(code)

    def snap(self, exclude: dict[str, str] | None = None) -> Manifest:
        """Take a snapshot as the writer does; its result passes through the same encodings."""
        self._count += 1
        id, base_id = f"s{self._count}", f"s{self._count - 1}"
        self.stored, self.at = [], []
        with self.as_main():
            self.tracker.mark(id)
            first = self._base is None
            base = self.restorer.base if first and self.restorer is not None else self._base
            touched = None if first else self.tracker.since(base_id)
            unloaded = self.restorer.unloaded if self.restorer is not None else ()
            manifest, following = self._capture().run(touched, base, "" if first else base_id, unloaded, exclude or {})
        self._base = marshal.loads(marshal.dumps(following))  # noqa: S302
        return decode_manifest(to_json(manifest))

    def snap_anew(self) -> Manifest:
        """What a snapshot that is compared with no earlier one says; nothing after it builds on it."""
        with self.as_main():
            manifest, _ = self._capture().run(None, None, "", (), {})
        return decode_manifest(to_json(manifest))

    def _capture(self) -> Capture:
        leaves = {sha256: value for sha256, value in self.contexts.items() if type(value) in (str, bytes)}
        arguments = (self.surroundings, self.loaders, leaves, self._keep, self.at.append, _describe)
        return Capture(self.values, self.tracker, *arguments)

    def _keep(self, sha256: str, data: Any) -> None:
        if sha256 not in self.store:
            self.store[sha256] = bytes(data)
            self.stored.append(sha256)

    def restored(self, manifest: Manifest, *, lazily: bool = False) -> Box:
        """Another namespace, at the state of `manifest`; its variables load when code names them, or all at once."""
        import msgspec

        box = Box(self.store)
        box.contexts = self.contexts
        with box.as_main():
            box.restorer = Restorer(
                box.values,
                msgspec.to_builtins(manifest),
                self.contexts.get,
                lambda hashes: box._supply(hashes),
                box.surroundings,
            )
            if not lazily:
                box.restorer.load_all()
        return box

    def _supply(self, hashes: Iterable[str]) -> dict[str, bytes]:
        hashes = list(hashes)
        self.asked += hashes
        return {sha256: self.store[sha256] for sha256 in hashes}

    def held(self) -> dict[str, Any]:
        """The variables, without what every module has."""
        return {name: value for name, value in self.values.items() if not (name[:2] == "__" == name[-2:])}


@contextmanager
def _kept_modules() -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in SWAPPED}
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def dropped(manifest: Manifest) -> dict[str, str]:
    return {each.name: each.reason for each in manifest.dropped}


def digests(manifest: Manifest) -> dict[str, str]:
    return {each.name: each.digest for each in manifest.variables}


def digest_of(make: Callable[[], Any]) -> str:
    """The digest of a value that stands alone in its namespace."""
    box = Box()
    box.values["x"] = make()
    return digests(box.snap())["x"]
