"""What a fork does differently from the session it comes from. Plain data: stored with rollouts, shown on pages."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

VariableKind = Literal["expression", "json", "text", "delete"]


class VariableChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One variable of the restored REPL, set or deleted before the fork goes on.

    `expression` is Python that is evaluated there, or a JSON value, or the text itself, as `kind` says; of a variable
    to delete it is empty.
    """

    name: str
    expression: str = ""
    kind: VariableKind = "expression"


class Changes(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything is optional; what is not given stays as it was. Positions count the messages of the conversation."""

    reply: str | None = None
    """Taken for the model's reply of the next step: no model is asked for it. Editing the code of the next cell is
    editing this reply."""
    question: str | None = None
    system_prompt: str | None = None
    messages: dict[int, str] = {}
    """New contents of messages by their position in the conversation."""
    variables: list[VariableChange] = []
    config: dict[str, Any] | None = None
    """A whole `SessionConfig` as plain data: models, sampling, limits, provider."""

    @property
    def none(self) -> bool:
        return self == Changes()


def changes_from_plain(plain: object) -> Changes:
    """Raises `msgspec.ValidationError`."""
    return msgspec.convert(plain, Changes, strict=False)


def changes_to_plain(changes: Changes) -> dict[str, Any]:
    plain = msgspec.to_builtins(changes, str_keys=True)
    assert isinstance(plain, dict)
    return plain
