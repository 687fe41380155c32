"""What a fork changes, for people: before and after of each thing, shortened."""

from __future__ import annotations

from typing import Any

import msgspec

from runs.replay.changes import Changes, VariableChange
from runs.replay.origin import Difference
from runs.services.config import config_from_plain

SHOWN_CHARS = 300
KIND_WORDS = {"expression": "", "json": "JSON ", "text": "text "}


def differences_of(changes: Changes, source: dict[str, Any], texts: dict[str, str]) -> list[Difference]:
    """`source` is the configuration of the source as plain data, `texts` what the changed texts were before."""
    found = []
    for what in ("reply", "question", "system_prompt"):
        value = getattr(changes, what)
        if value is not None and value != texts.get(what, ""):
            found.append(Difference(what.replace("_", " "), _short(texts.get(what, "")), _short(value)))
    for position, content in sorted(changes.messages.items()):
        before = texts.get(f"message {position}", "")
        if content != before:
            found.append(Difference(f"message {position + 1}", _short(before), _short(content)))
    found += [_variable_difference(each) for each in changes.variables]
    if changes.config is not None:
        found += _config_differences("", _full(source), _full(changes.config))
    return found


def _variable_difference(change: VariableChange) -> Difference:
    what = f"variable {change.name}"
    if change.kind == "delete":
        return Difference(what, "", "deleted")
    return Difference(what, "", _short(f"{KIND_WORDS[change.kind]}{change.expression}"))


def _full(config: dict[str, Any]) -> dict[str, Any]:
    """With every default written out: what is not given and what is given as the default are the same."""
    return _plain_of(config_from_plain(config))


def _plain_of(struct: msgspec.Struct) -> dict[str, Any]:
    return {
        name: _plain_of(value) if isinstance(value, msgspec.Struct) else value
        for name, value in msgspec.structs.asdict(struct).items()
    }


def _config_differences(prefix: str, before: Any, after: Any) -> list[Difference]:
    if isinstance(before or after, dict) and isinstance(after or before, dict):
        before, after = before or {}, after or {}
        return [
            difference
            for name in sorted({*before, *after})
            for difference in _config_differences(
                f"{prefix}.{name}" if prefix else name, before.get(name), after.get(name)
            )
        ]
    if before == after or _shown(before) == _shown(after):
        return []
    return [Difference(prefix, _short(_shown(before)), _short(_shown(after)))]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
