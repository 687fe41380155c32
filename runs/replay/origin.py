"""Where a session came from, when it was not started from a question. Stored with it, so it outlives its source."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a fork changed, for people: `what` names it; `before` and `after` are cut to a few hundred
    characters."""

    what: str
    before: str = ""
    after: str = ""


class Origin(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """kind: `fork` (of a step of `session`), `branch` (a fork made by `rollout`), `import` (from an archive)."""

    kind: Literal["fork", "branch", "import"]
    session: str = ""
    title: str = ""
    node: int = 0
    step: int = 0
    """The last step that both have in common; 0: none."""
    snapshot: str = ""
    inherited_seq: int = 0
    """Events up to here were copied from the source."""
    differences: list[Difference] = []
    rollout: str = ""
    installation: str = ""
    """Of an import: where the archive was made."""
    archive: str = ""
    """Of an import: what identifies the archive, so that it is not imported twice unasked."""


def origin_of(plain: object) -> Origin | None:
    """The origin stored with a session; None for one that was started from a question."""
    return msgspec.convert(plain, Origin) if plain else None


def origin_to_plain(origin: Origin) -> dict[str, Any]:
    plain = msgspec.to_builtins(origin)
    assert isinstance(plain, dict)
    return plain
