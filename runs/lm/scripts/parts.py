"""What the built-in scripts share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=600_000)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the options of a built-in script."""

    ledger: str = ""
    seed: int = 0


def cell(code: str, thought: str = "") -> str:
    """A reply: a thought and one cell."""
    block = f"```repl\n{code.strip()}\n```"
    return f"{thought.strip()}\n\n{block}" if thought else block


def answer(expression: str) -> str:
    """Code that gives `expression` as the node's answer."""
    return f'answer["content"] = str({expression})\nanswer["ready"] = True'


def fields(options: Options) -> dict[str, Any]:
    return {"seed": options.seed, "ledger": options.ledger}
