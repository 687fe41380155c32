"""The names that the code of a cell finds: contexts, queries, the answer; and what is said about them afterwards."""

from __future__ import annotations

import os
import sys

from sandboxes.runner.wire import clean, clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandboxes.runner.queries import Queries

DESCRIBED_VARIABLES = 200
PREVIEW_CHARS = 120
_NUMBERS = (int, float, complex, bool)
_CONTAINERS = (list, tuple, dict, set, frozenset)


class_name = type.__dict__["__name__"].__get__
"""The name of a class, without asking its metaclass, whose code could do anything."""


class Answer(dict):  # type: ignore[type-arg]
    """`answer`: `{"content": ..., "ready": False}`. Setting `ready` ends the run with the content."""

    def __init__(self) -> None:
        super().__init__(content="", ready=False)
        self.set_ready = False

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if key == "ready":
            self.set_ready = bool(value)


class Names:
    """The namespace of the REPL and the functions in it that need to know it."""

    def __init__(self, queries: Queries, workspace: str) -> None:
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        self.values: dict[str, Any] = module.__dict__
        self._queries = queries
        self._workspace = workspace
        self._hidden: set[str] = set()
        self._scaffold: set[str] = set()
        self.unloaded: dict[str, dict[str, Any]] = {}
        """Variables of a restored snapshot that are not loaded yet, as the snapshot describes them."""
        self._aliases: dict[str, str] = {}
        self._answer = Answer()
        self._was_ready = False
        self._final: list[Any] = []
        self.restore_scaffold()
        self._hidden = set(self.values)
        self._scaffold = {*self._hidden, "__builtins__"}

    def restore_scaffold(self) -> None:
        """Bind the names of the interface again, so that a cell which overwrote one does not break the next."""
        queries, values = self._queries, self.values
        values.update(
            llm_query=queries.llm_query,
            llm_query_batched=queries.llm_query_batched,
            rlm_query=queries.rlm_query,
            rlm_query_batched=queries.rlm_query_batched,
            SHOW_VARS=self.show_vars,
            FINAL=self.final,
            FINAL_VAR=self.final_var,
        )
        for alias, name in self._aliases.items():
            if name in values:
                values[alias] = values[name]
        current = values.get("answer")
        if current is not self._answer:
            self._answer = Answer()
            if isinstance(current, dict):
                dict.update(self._answer, current)
            values["answer"] = self._answer
        self._answer.set_ready = False
        self._was_ready = bool(dict.get(self._answer, "ready"))
        self._final.clear()

    # What the code calls ----------------------------------------------------------------------------------------

    def show_vars(self) -> str:
        """All variables that the code has created, with their types."""
        names = {described["name"]: described["type"] for described in map(self._describe, self.user_names())}
        if not names:
            return "No variables created yet. Use ```repl``` blocks to create variables."
        return f"Available variables: {names}"

    def final(self, value: Any = "") -> str:
        """Give `value` as the final answer."""
        text = str(value)  # may raise; then there is no answer
        self._final[:] = [value]
        return text

    def final_var(self, variable: Any = "") -> str:
        """Give a variable as the final answer: by its name, or the variable itself."""
        if isinstance(variable, str):
            name = variable.strip().strip("\"'")
            if name in self.values:
                return self.final(self.values[name])
            held = any(self.values.get(other) is variable for other in self.user_names())
            if name.isidentifier() and not held:
                return (
                    f"Error: Variable '{name}' not found. Available variables: {self.user_names()}. "
                    "Create and assign the variable before calling FINAL_VAR on it."
                )
        return self.final(variable)

    # Contexts and tools -----------------------------------------------------------------------------------------

    def load(self, name: str, path: str, kind: str, notes: list[str]) -> None:
        """Read a file of the workspace into `name`. Text keeps one copy in memory: the file is mapped, not read."""
        full = os.path.join(self._workspace, path)
        try:
            self.values[name] = _read_value(full, kind, name, notes)
        except MemoryError:
            size = os.path.getsize(full)
            raise MemoryError(f"{name} ({size:,} bytes) does not fit in the memory limit of the sandbox") from None
        self._alias(name)

    def _alias(self, name: str) -> None:
        if name.endswith("_0"):
            self._aliases[name[:-2]] = name
            self.values[name[:-2]] = self.values[name]

    def define_tool(self, tool: dict[str, Any], run: Callable[[str, str], None]) -> None:
        """A tool given as source is run, so that it defines its name; a value is bound."""
        name = str(tool["name"])
        if tool.get("source") is None:
            self.values[name] = tool.get("value")
            return
        run(str(tool["source"]), f"<tool {name}>")
        if name not in self.values:
            raise NameError(f"the source of the tool does not define {name!r}")
        self._hidden.add(name)

    # Afterwards -------------------------------------------------------------------------------------------------

    def outcome(self) -> tuple[Any, Any]:
        """(final answer or None, draft answer or None) after a cell; they are not yet text."""
        answer = self.values.get("answer")
        if self._final:
            return self._final[0], None
        if not isinstance(answer, dict):
            return None, None
        content, ready = dict.get(answer, "content", ""), dict.get(answer, "ready")
        fired = self._answer.set_ready or answer is not self._answer or not self._was_ready
        if ready and fired:
            return content, None
        return None, (content if content != "" and not ready else None)

    def user_names(self) -> list[str]:
        return [name for name in {**self.values, **self.unloaded} if type(name) is str and self._is_shown(name)]

    def _is_shown(self, name: str) -> bool:
        return not name.startswith("_") and name != "answer" and name not in self._hidden

    def is_captured(self, name: str) -> bool:
        """Whether a snapshot holds this name: everything but the interface itself."""
        return name not in self._scaffold

    def describe(self) -> list[dict[str, str]]:
        """The variables with type, size and a short preview. Runs no code of the cell: no `__repr__`, no `__len__`."""
        return [self._describe(name) for name in self.user_names()[:DESCRIBED_VARIABLES]]

    def _describe(self, name: str) -> dict[str, str]:
        if name in self.values:
            return _describe(name, self.values[name])
        state = self.unloaded[name]
        limits = (("name", 100), ("type", 100), ("size", 40), ("preview", PREVIEW_CHARS))
        return {field: clip(clean(str(state.get(field, ""))), limit) for field, limit in limits}


def _read_value(path: str, kind: str, name: str, notes: list[str]) -> Any:
    if os.path.getsize(path) == 0:
        return b"" if kind == "bytes" else _from_text("", kind)
    import mmap

    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        if kind == "bytes":
            return bytes(mapped)
        try:
            text = str(mapped, "utf-8")
        except UnicodeDecodeError as error:
            text = str(mapped, "utf-8", "replace")
            notes.append(f"{name}: not UTF-8 from byte {error.start}; invalid bytes were replaced by U+FFFD")
    return _from_text(text, kind)


def _from_text(text: str, kind: str) -> Any:
    if kind != "json":
        return text
    import json

    return json.loads(text)


def _describe(name: str, value: Any) -> dict[str, str]:
    kind = type(value)
    return {
        "name": clip(clean(name), 100),
        "type": clip(clean(class_name(kind)), 100),
        "size": _size(value, kind),
        "preview": clean(_preview(value, kind)),
    }


def _size(value: Any, kind: type) -> str:
    if kind is str:
        return f"{len(value):,} chars"
    if kind in (bytes, bytearray):
        return f"{len(value):,} bytes"
    if kind in _CONTAINERS:
        return f"{len(value):,} items"
    for module_name, names in (("numpy", ("ndarray",)), ("pandas", ("DataFrame", "Series"))):
        module = sys.modules.get(module_name)
        if module is not None and any(kind is module.__dict__.get(known) for known in names):
            return " x ".join(str(length) for length in value.shape)
    return ""


def _preview(value: Any, kind: type, depth: int = 0) -> str:
    if kind is str:
        return repr(value[:PREVIEW_CHARS])[: PREVIEW_CHARS + 2]
    if kind in (bytes, bytearray):
        return repr(bytes(value[:40]))[:PREVIEW_CHARS]
    if kind is int and value.bit_length() > 300:
        return f"<integer of {value.bit_length():,} bits>"
    if kind in _NUMBERS or value is None:
        return repr(value)[:PREVIEW_CHARS]
    if kind in (list, tuple) and depth < 2:
        inner = ", ".join(_preview(item, type(item), depth + 1) for item in value[:5])
        more = ", ..." if len(value) > 5 else ""
        return (f"[{inner}{more}]" if kind is list else f"({inner}{more})")[:PREVIEW_CHARS]
    if kind is dict and depth < 2:
        parts: list[str] = []
        for key in value:
            if len(parts) == 5:
                parts.append("...")
                break
            # Looking a key up could run its __eq__; only plain keys are looked up.
            shown = _preview(value[key], type(value[key]), depth + 1) if type(key) in (str, int) else "..."
            parts.append(f"{_preview(key, type(key), depth + 1)}: {shown}")
        return ("{" + ", ".join(parts) + "}")[:PREVIEW_CHARS]
    return f"<{class_name(kind)}>"[:PREVIEW_CHARS]
