"""Scripts of the scripted model: plain JSON, checked and bounded, because it may come from a form or an API.

    {"seed": 7,
     "rules": [{"when": {"kind": "turn", "depth": 0, "step": 1}, "reply": "```repl\\nprint(len(context))\\n```"},
               {"when": {"kind": "leaf"}, "reply": "{index}", "latency_ms": 80, "jitter_ms": 40},
               {"when": {"kind": "leaf", "share": 0.1}, "fault": "429", "fault_attempts": 2, "reply": "late"}],
     "default": {"reply": "FINAL(nothing to do)"}}

The first rule that fits wins. In a reply `{step}`, `{node}`, `{depth}`, `{index}`, `{key}`, `{prompt}`, `{last_output}`
and `{quote}` stand for facts of the call (see `Facts`); all other braces stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from runs.lm.base import LmRequest
from runs.lm.errors import LmBadRequest

MOST_RULES = 2_000
QUOTE_CHARS = 120
OFFLINE_CHARS_PER_TOKEN = 4

Kind = Literal["turn", "leaf", "compaction", "final"]
Fault = Literal[
    "400",
    "401",
    "404",
    "429",
    "500",
    "503",
    "context",
    "hang",
    "malformed",
    "truncated",
    "reset",
    "empty",
    "length",
]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
ReplyText = Annotated[str, msgspec.Meta(max_length=4_000_000)]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls a rule is for; what is not said fits every call."""

    kind: Kind | None = None
    depth: int | None = None
    min_depth: int | None = None
    step: int | None = None
    min_step: int | None = None
    node: int | None = None
    contains: str | None = None
    """Stands in what the model sees since its last reply."""
    anywhere: str | None = None
    """Stands in any message."""
    share: Share | None = None
    """Only this share of the calls, drawn by seed and key."""


class ScriptUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token counts to report. Without one they are estimated at four characters a token."""

    input_tokens: int | None = None
    output_tokens: int | None = None


class Then(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to answer. A list of replies is drawn from by seed and key."""

    reply: ReplyText | list[ReplyText] = ""
    latency_ms: Milliseconds = 0
    """Until the first text."""
    jitter_ms: Milliseconds = 0
    """Added to the latency: a part of it drawn by seed and key."""
    stream_ms: Milliseconds = 0
    """From the first to the last piece of the text."""
    fault: Fault | None = None
    fault_attempts: int | None = None
    """Only the first attempts of a call fail; None: all of them."""
    fault_rate: Share = 1
    """How likely an attempt fails, drawn by seed, key and attempt."""
    retry_after_s: float | None = None
    usage: ScriptUsage | None = None


class Rule(Then, frozen=True, forbid_unknown_fields=True):
    when: When = When()


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ledger` names a file in the installation's ledger folder; each call appends a line (see `runs.lm.ledger`)."""

    rules: Annotated[list[Rule], msgspec.Meta(max_length=MOST_RULES)] = []
    default: Then | None = None
    seed: int = 0
    ledger: str = ""
    title: str = ""
    question: str = ""
    """For people: what the script is about and the question it was written for."""


def parse_script(plain: object) -> Script:
    """Raises `LmBadRequest` that names the field at fault."""
    try:
        return msgspec.convert(plain, Script, strict=False)
    except msgspec.ValidationError as error:
        raise LmBadRequest(f"The script cannot be used: {error}") from error


@dataclass(frozen=True)
class Facts:
    """One call as rules see it. Node, step and index come from the request's key `.../node/step/cell/subcall/index`."""

    request: LmRequest

    @cached_property
    def place(self) -> tuple[int, int, int]:
        """(node, step, index)."""
        parts = self.request.key.split("/")
        if len(parts) < 5:
            return 0, 0, 0
        node, step, _cell, _subcall, index = parts[-5:]
        return _int(node), _int(step), _int(index)

    @cached_property
    def last_output(self) -> str:
        """All that the user side said since the last reply."""
        since: list[str] = []
        for message in reversed(self.request.messages):
            if message.role == "assistant":
                break
            if message.role == "user":
                since.append(message.content)
        return "\n".join(reversed(since))

    @property
    def prompt(self) -> str:
        messages = self.request.messages
        return messages[-1].content if messages else ""

    @property
    def quote(self) -> str:
        """The last line of the prompt that has letters, cut short: what a scripted leaf can honestly repeat."""
        for line in reversed(self.prompt.splitlines()):
            if any(char.isalpha() for char in line):
                return line.strip()[:QUOTE_CHARS]
        return ""

    def fill(self, template: str) -> str:
        if "{" not in template:
            return template
        node, step, index = self.place
        request = self.request
        facts = {"node": node, "step": step, "index": index, "depth": request.depth, "key": request.key}

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            return str(facts[name] if name in facts else getattr(self, name))

        return _PLACEHOLDER.sub(value, template)


_PLACEHOLDER = re.compile(r"\{(node|step|index|depth|key|prompt|last_output|quote)\}")


def _int(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def fits(when: When, facts: Facts) -> bool:
    """Everything but `share`, which needs the seed."""
    request = facts.request
    node, step, _index = facts.place
    return (
        (when.kind is None or when.kind == request.kind)
        and (when.depth is None or when.depth == request.depth)
        and (when.min_depth is None or request.depth >= when.min_depth)
        and (when.step is None or when.step == step)
        and (when.min_step is None or step >= when.min_step)
        and (when.node is None or when.node == node)
        and (when.contains is None or when.contains in facts.last_output)
        and (when.anywhere is None or any(when.anywhere in message.content for message in request.messages))
    )
