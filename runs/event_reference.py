"""The event reference, read from the docstrings of `runs.events.types`.

Python keeps no docstrings of fields, so the source is parsed: a string right below a field belongs to it.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from functools import cache

import msgspec

from runs.events import types

SHARED = (types.BlobText, types.ErrorInfo, types.MessageInfo, types.VariableInfo)


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """`default` is empty for a field that is always there."""

    name: str
    type: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One event type (`name` is its tag) or one of the structures that events share."""

    name: str
    doc: str
    fields: list[FieldEntry] = field(default_factory=list)


@cache
def event_reference() -> dict[str, list[Entry]]:
    """Entries by group: the part of the tag before the dot, then the shared structures."""
    docs = _field_docs()
    groups: dict[str, list[Entry]] = {}
    for kind in types.AnyEvent.__args__:
        tag = str(kind.__struct_config__.tag)
        groups.setdefault(tag.partition(".")[0], []).append(_entry(kind, tag, docs))
    groups["shared"] = [_entry(kind, kind.__name__, docs) for kind in SHARED]
    return groups


def _entry(kind: type[msgspec.Struct], name: str, docs: dict[tuple[str, str], str]) -> Entry:
    annotations = inspect.get_annotations(kind)
    fields = [
        FieldEntry(info.name, str(annotations[info.name]), _default(info), docs.get((kind.__name__, info.name), ""))
        for info in msgspec.structs.fields(kind)
    ]
    return Entry(name, inspect.cleandoc(kind.__doc__ or ""), fields)


def _default(info: msgspec.structs.FieldInfo) -> str:
    if info.default is not msgspec.NODEFAULT:
        return repr(info.default)
    if info.default_factory is not msgspec.NODEFAULT:
        return repr(info.default_factory())
    return ""


def _field_docs() -> dict[tuple[str, str], str]:
    """(class, field) to the string that stands below the field."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(types)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        name = ""
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
            elif name and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                found[node.name, name] = inspect.cleandoc(str(statement.value.value))
    return found
