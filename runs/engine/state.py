"""What the engine remembers, as plain data that is stored with the node and the step."""

from __future__ import annotations

import msgspec

from runs.engine.io import EndNode
from runs.engine.limits import Limits


class ToolInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A custom tool: Python source defining `name`, or a JSON value bound to it."""

    name: str
    source: str | None = None
    value: object = None
    description: str = ""


class NodeTask(msgspec.Struct, frozen=True, kw_only=True):
    """What one node is to do. Fixed for the life of the node.

    `question` is the root's question; a child has none, its whole prompt is its context (as in `rlms`).
    """

    depth: int
    question: str
    context_kind: str
    context_chars: int
    context_name: str = ""
    limits: Limits
    profile: str = "standard"
    sub_profile: str = "standard"
    root_model: str = ""
    sub_model: str = ""
    context_window_tokens: int = 128_000
    tools: tuple[ToolInfo, ...] = ()
    system_prompt: str | None = None
    compaction: bool = True

    @property
    def recursive(self) -> bool:
        """May this node open child nodes? If not, `rlm_query` is a plain LM call."""
        return self.depth + 1 < self.limits.max_depth


class NodeState(msgspec.Struct, kw_only=True):
    """Carried from step to step."""

    turns: int = 0
    """Turns of the model so far; a probe is a step but no turn."""
    cells_run: int = 0
    consecutive_errors: int = 0
    compactions: int = 0
    shown: int = 0
    """Messages of the conversation that earlier steps have shown in the event log."""
    opening: int = 0
    """Messages that opened the conversation; compaction keeps them."""
    partial: str = ""
    """The answer so far: `answer["content"]` before it is ready. What a limit or a stop reports."""
    last_words: str = ""
    """Text or output of the latest turn, cut: what the root reports where there is no partial answer."""
    probe: str = ""
    """What the probe printed."""
    notes: dict[str, object] = {}
    """The profile's own memory."""


class Stream(msgspec.Struct, kw_only=True):
    """What the prompt needs of an output stream: head and tail, and its true length."""

    head: str = ""
    tail: str = ""
    chars: int = 0


class CellRecord(msgspec.Struct, kw_only=True):
    """One cell of the step as far as it got."""

    code: str
    status: str = ""
    """Empty while it has not finished."""
    attempt: int = 1
    stdout: Stream = msgspec.field(default_factory=Stream)
    stderr: Stream = msgspec.field(default_factory=Stream)
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""
    final: str | None = None
    variables: list[str] = []
    opened: list[str] = []
    """Sub-calls whose opening is on record."""
    closed: list[str] = []
    built_in: bool = False
    """Made by the product (a probe, the fetching of an answer), not by the model."""


class StepState(msgspec.Struct, kw_only=True):
    """phase: `begin`, `compaction`, `turn`, `cells`, `final`, `done`."""

    phase: str = "begin"
    reply: str = ""
    final: str | None = None
    """An answer that the reply gives in its text, taken once its cells have run."""
    final_var: str | None = None
    """A variable that the reply names as its answer, fetched by a cell of ours once its own cells have run."""
    cells: list[CellRecord] = []
    cell: int = 0
    """Number of the running cell, from 1; 0 before the first."""
    given: str | None = None
    """A reply that a fork gives instead of the model's."""
    given_call: int = 0
    """The number under which the given reply is on record."""
    end: EndNode | None = None
    """How the node ends, while that waits for its last snapshot; in phase `done` only."""


def to_plain(state: NodeState | StepState) -> dict[str, object]:
    plain = msgspec.to_builtins(state)
    assert isinstance(plain, dict)
    return plain


def node_state(plain: object) -> NodeState:
    return msgspec.convert(plain, NodeState)


def step_state(plain: object) -> StepState:
    return msgspec.convert(plain, StepState)
