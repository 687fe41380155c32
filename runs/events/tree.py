"""The state of a session as its events tell it: what `runs.events.fold` builds and what pages draw.

`static/js/live/fold.js` builds the same from the same events, field by field; a test compares the two as JSON.
Times are Unix milliseconds of the host's clock. A `Text` is a string, or the excerpt of a long one in the blob store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from runs.events.types import ErrorInfo, MessageInfo, Text, VariableInfo

MAX_OUTPUT_CHUNKS = 1024
"""Chunks of output that a cell keeps in the state; the log has all of them."""
KEPT_FIRST_CHUNKS = 512
"""How many of them are the first ones; the rest are the newest."""
MAX_STREAMED_CHUNKS = 256
"""Pieces of a reply kept while it streams; the whole reply comes with the end of the call."""
MAX_NOTES = 1000


@dataclass(slots=True)
class Usage:
    """What a node, a subtree or the session has used."""

    nodes: int = 0
    steps: int = 0
    lm_calls: int = 0
    lm_calls_failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    unpriced_calls: int = 0
    """Calls whose cost is unknown: the cost is at least what is said."""
    errors: int = 0
    """Failed cells, LM calls and steps, and errors logged."""
    output_bytes: int = 0


@dataclass(slots=True)
class Call:
    """One LM call. status: `running`, `finished`, `failed`, `abandoned` (its node ended first)."""

    call: int
    kind: str
    model: str
    index: int
    started_at: int
    status: str = "running"
    prompt: Text | None = None
    streamed: list[str] = field(default_factory=list)
    reply: Text | None = None
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    cost_micro_usd: int | None = None
    cost_source: str = ""
    attempts: int = 1
    maybe_repeated: bool = False
    duration_ms: int = 0
    finished_at: int | None = None
    error: ErrorInfo | None = None


@dataclass(slots=True)
class SubCall:
    """A call made by code: `calls` are its plain LM calls, `children` the nodes that it opened."""

    subcall: str
    kind: str
    count: int
    batch: bool
    seq: int
    started_at: int
    status: str = "running"
    failed: int = 0
    finished_at: int | None = None
    calls: list[Call] = field(default_factory=list)
    children: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Chunk:
    """Output as it came."""

    seq: int
    stream: str
    text: Text
    late: bool


@dataclass(slots=True)
class Cell:
    """status: `running`, then as in `cell.finished`; `stopped` when its node ended first."""

    cell: int
    seq: int
    code: Text
    attempt: int
    built_in: bool
    started_at: int
    status: str = "running"
    output: list[Chunk] = field(default_factory=list)
    omitted_chunks: int = 0
    subcalls: list[SubCall] = field(default_factory=list)
    finished_at: int | None = None
    duration_ms: int = 0
    error: ErrorInfo | None = None
    variables: list[VariableInfo] = field(default_factory=list)
    variables_omitted: int = 0
    output_bytes: int = 0
    dropped_bytes: int = 0
    answered: bool = False


@dataclass(slots=True)
class Retry:
    seq: int
    attempt: int
    reason: str


@dataclass(slots=True)
class CompactionInfo:
    summary: Text
    before_tokens: int
    after_tokens: int


@dataclass(slots=True)
class SnapshotInfo:
    seq: int
    snapshot: str
    holds: list[str]
    size_bytes: int
    stored_bytes: int
    dropped: list[str]
    changed: list[str]


@dataclass(slots=True)
class Step:
    """status: `running`, `waiting` (for `waits_for` children; no worker), then as in `step.finished`.

    `calls` are the turn's own: `turn`, `final`, `compaction`.
    """

    step: int
    seq: int
    started_at: int
    status: str = "running"
    attempt: int = 1
    waits_for: int = 0
    messages: list[MessageInfo] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    compaction: CompactionInfo | None = None
    snapshot: SnapshotInfo | None = None
    snapshot_error: str = ""
    finished_at: int | None = None
    duration_ms: int = 0
    error: ErrorInfo | None = None


@dataclass(slots=True)
class SandboxInfo:
    state: str
    provider: str
    tier: str
    sandbox: str
    reason: str


@dataclass(slots=True)
class Node:
    """status: `running`, then as in `node.finished`; `unknown` for a node whose start is missing from the log.

    `step`, `cell`, `subcall` and `index` say where in the parent the call was made.
    """

    node: int
    seq: int
    changed_seq: int
    parent: int | None = None
    depth: int = 0
    prompt: Text = ""
    model: str = ""
    step: int = 0
    cell: int = 0
    subcall: str = ""
    index: int = 0
    started_at: int = 0
    status: str = "running"
    stopping: bool = False
    limit: str = ""
    answer: Text | None = None
    partial: bool = False
    error: ErrorInfo | None = None
    finished_at: int | None = None
    sandbox: SandboxInfo | None = None
    sandboxes_lost: int = 0
    steps: list[Step] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    own: Usage = field(default_factory=Usage)
    subtree: Usage = field(default_factory=Usage)


@dataclass(slots=True)
class LimitInfo:
    seq: int
    limit: str
    used: float
    allowed: float
    node: int | None
    step: int | None
    partial: Text | None


@dataclass(slots=True)
class Note:
    """level: `info`, `warning`, `error`, `gap` (something is known to be missing), `stop` (somebody asked to stop)."""

    seq: int
    at: int
    level: str
    message: str
    node: int | None
    step: int | None


@dataclass(slots=True)
class ForkInfo:
    """What was before `seq` was done, and paid for, by the session this one was forked from."""

    seq: int
    from_session: str
    from_title: str
    from_node: int
    from_step: int
    snapshot: str
    differences: list[dict[str, str]]
    inherited: Usage


@dataclass(slots=True)
class Tree:
    """A session at `seq`. `roots` are the root node and nodes whose parent is not in the log."""

    seq: int = 0
    at: int = 0
    status: str = "new"
    stopping: bool = False
    title: str = ""
    question: Text = ""
    context: dict[str, str | int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    answer: Text | None = None
    partial: bool = False
    error: ErrorInfo | None = None
    started_at: int | None = None
    finished_at: int | None = None
    used: Usage = field(default_factory=Usage)
    forked: ForkInfo | None = None
    limits_hit: list[LimitInfo] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    notes_omitted: int = 0
    roots: list[int] = field(default_factory=list)
    nodes: dict[int, Node] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    """Every call by its number, for the fold; not part of the plain form."""


def to_plain(tree: Tree) -> dict[str, Any]:
    """The state as plain data, as the JavaScript fold gives it: nodes are a list in the order of their start."""
    plain: dict[str, Any] = msgspec.to_builtins(tree)
    del plain["calls"]
    plain["nodes"] = list(plain["nodes"].values())
    return plain
