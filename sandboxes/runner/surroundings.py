"""What code depends on beside variables and files: generators of random numbers, the current folder, where modules are
found, the environment, the arithmetic of decimals, filters of warnings, the content of `answer`.

A snapshot holds them as one content. They are brought back at once, before any variable is.
"""

from __future__ import annotations

import os
import sys

from sandboxes.runner.repeatable import go_on_repeating, repeatable_places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

pending_states: dict[str, Any] = {}
"""States of generators in libraries that a restored REPL has not imported (yet), by the name of the module."""
_IN_WORKSPACE = "workspace"
_ANSWER_FIELDS = ("content", "ready")


class Surroundings:
    """Made before code of the session runs: changes are told from what is found here."""

    def __init__(self, workspace: str, values: dict[str, Any]) -> None:
        self._workspace = workspace
        self._values = values
        self._path = list(sys.path)
        self._environment = dict(os.environ)

    # To a snapshot ----------------------------------------------------------------------------------------------

    def written_down(self) -> dict[str, Any]:
        """Plain data, to be pickled. Runs code of the session where `answer` holds an object of its own."""
        found: dict[str, Any] = {
            "repeatable": repeatable_places(),
            **_random_numbers(),
            "folder": self._folder(),
            "path": [self._place(entry) for entry in sys.path if type(entry) is str and entry not in self._path],
            "environment": self._changed_environment(),
            "answer": self._answer(),
        }
        decimals = _arithmetic()
        if decimals is not None:
            found["decimal"] = decimals
        warnings = sys.modules.get("warnings")
        if warnings is not None:
            found["warnings"] = [_named(entry) for entry in warnings.filters if _is_plain_filter(entry)]
        return {name: each for name, each in found.items() if each}

    def _folder(self) -> tuple[str, str] | None:
        try:
            return self._place(os.getcwd())
        except OSError:
            return None  # it was removed

    def _place(self, path: str) -> tuple[str, str]:
        """Workspaces may lie elsewhere in another sandbox."""
        if os.path.commonpath([os.path.abspath(path), self._workspace]) == self._workspace:
            return _IN_WORKSPACE, os.path.relpath(path, self._workspace)
        return "", path

    def _changed_environment(self) -> dict[str, str | None]:
        now, began = dict(os.environ), self._environment
        changed: dict[str, str | None] = {name: value for name, value in now.items() if began.get(name) != value}
        changed.update({name: None for name in began if name not in now})
        return changed

    def _answer(self) -> dict[str, Any]:
        """Without sharing what it holds with variables; what is no plain data as the text that it would be given as."""
        answer = self._values.get("answer")
        if not isinstance(answer, dict):
            return {}
        held = {name: dict.get(answer, name) for name in _ANSWER_FIELDS if dict.__contains__(answer, name)}
        held["ready"] = held.get("ready") is True
        if type(held.get("content", "")) not in (str, int, float, bool, type(None)):
            held["content"] = str(held["content"])
        return held if held != {"content": "", "ready": False} else {}

    # From a snapshot --------------------------------------------------------------------------------------------

    def bring_back(self, state: dict[str, Any]) -> None:
        """All but the folder, which needs the files."""
        go_on_repeating(state.get("repeatable", {}))
        if "random" in state:
            import random

            random.setstate(state["random"])
        if "numpy" in state:
            pending_states["numpy.random"] = state["numpy"]
            set_pending()
        sys.path += [entry for place in state.get("path", ()) if (entry := self._found(place)) not in sys.path]
        for name, value in state.get("environment", {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if "decimal" in state:
            import decimal

            decimal.setcontext(state["decimal"])
        if "warnings" in state:
            import warnings

            warnings.resetwarnings()
            filters: Any = warnings.filters
            filters[:] = [entry for each in state["warnings"] if (entry := _found_filter(each))]
        if "answer" in state:
            self._values["answer"] = dict(state["answer"])

    def enter_folder(self, state: dict[str, Any]) -> None:
        """Once files are back. A folder that snapshots do not hold is left for the workspace."""
        try:
            os.chdir(self._found(state.get("folder", (_IN_WORKSPACE, "."))))
        except OSError:
            os.chdir(self._workspace)

    def _found(self, place: tuple[str, str]) -> str:
        kind, path = place
        return os.path.normpath(os.path.join(self._workspace, path)) if kind == _IN_WORKSPACE else path


def set_pending() -> None:
    """Give generators of libraries their state, once the library is there."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None and "numpy.random" in pending_states:
        kind, key, *rest = pending_states.pop("numpy.random")
        if type(key) is bytes:
            key = sys.modules["numpy"].frombuffer(key, dtype="uint32")
        numpy_random.set_state((kind, key, *rest))


def _random_numbers() -> dict[str, Any]:
    found = {}
    random, numpy_random = sys.modules.get("random"), sys.modules.get("numpy.random")
    if random is not None:
        found["random"] = random.getstate()
    if "numpy.random" in pending_states:
        found["numpy"] = pending_states["numpy.random"]
    elif numpy_random is not None:
        kind, key, *rest = numpy_random.get_state()
        # Not as an array: it is to be read where there is no NumPy, too, and where it may be loaded unasked.
        found["numpy"] = (kind, key.astype("uint32").tobytes(), *rest)
    return found


def _arithmetic() -> Any:
    """The context of decimals, when it is not what a thread begins with."""
    decimal = sys.modules.get("decimal")
    if decimal is None:
        return None
    context = decimal.getcontext()
    if type(context) is not decimal.Context or repr(context) == repr(decimal.Context()):
        return None
    return context


def _named(entry: Any) -> Any:
    """A filter with its kind of warning by name: that kind need not exist where the snapshot is restored."""
    action, message, category, module, line = entry
    return action, message, (category.__module__, category.__qualname__), module, line


def _found_filter(entry: Any) -> Any:
    """None for a kind of warning that is not there."""
    action, message, category, module, line = entry
    if type(category) is tuple:
        try:
            __import__(category[0])
            category = getattr(sys.modules[category[0]], category[1])
        except Exception:
            return None
    return action, message, category, module, line


def _is_plain_filter(entry: Any) -> bool:
    """Is it one whose kind of warning another process can import?"""
    category = entry[2] if type(entry) is tuple and len(entry) == 5 else None
    return isinstance(category, type) and category.__module__ != "__main__"
