"""Event types, version 1. One immutable fact about a session each; `templates/docs/events.html` is the reference.

On the wire and at rest an event is one flat JSON object: `seq`, `at` (Unix milliseconds, host clock), `type` and the
fields below. `node` is the node's number in its session (root 0); `step` counts from 1 within the node; `cell` counts
from 1 within the step; `call` numbers every LM call of the session from 1; `subcall` is the runner's id of a call made
by code (`c1`, `c2`... within the cell).

An event is at most `MAX_EVENT_BYTES`; any longer string is a `BlobText`: hash, size, and its head and tail.
Fields are only ever added, with a default; a reader skips fields it does not know and refuses types it does not know.
"""

from __future__ import annotations

import msgspec

MAX_EVENT_BYTES = 4096
INLINE_TEXT_BYTES = 1024
"""Longest string, in UTF-8 bytes, that stands in an event itself."""


class BlobText(msgspec.Struct, frozen=True):
    """A long text kept in the blob store. `size` is its UTF-8 length in bytes."""

    sha256: str
    size: int
    head: str
    tail: str = ""


Text = str | BlobText


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, for people: `type` is a stable name, `message` says what to do where that is known."""

    type: str
    message: str
    detail: Text = ""
    retryable: bool = False


class MessageInfo(msgspec.Struct, frozen=True):
    """A message new in a prompt. Each message of a conversation is stored once."""

    role: str
    content: Text


class VariableInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    type: str
    size: str = ""
    preview: str = ""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", kw_only=True):
    """Base of all events."""


# Session ------------------------------------------------------------------------------------------------------------


class SessionStarted(Event, frozen=True, tag="session.started"):
    """The session exists. `config` holds what the run page shows: models, provider, limits, profile."""

    title: str
    question: Text
    context: dict[str, str | int]
    """`name`, `kind`, `size_bytes`, `sha256`."""
    config: dict[str, object] = {}
    labels: list[str] = []
    """Honest words for the UI: `scripted`, `local model`..."""


class SessionForked(Event, frozen=True, tag="session.forked"):
    """Everything before this event was done by another session, and copied. What follows is this one's own.

    `from_node`, `from_step`: the last step in common. What was used before does not count as used by this session.
    """

    from_session: str
    from_title: str = ""
    from_node: int = 0
    from_step: int = 0
    snapshot: str = ""
    differences: list[dict[str, str]] = []
    """`what`, `before`, `after` each, shortened."""


class SessionStopRequested(Event, frozen=True, tag="session.stop_requested"):
    """Someone asked to stop the session (`node` 0) or one subtree."""

    node: int = 0
    by: str = ""


class SessionFinished(Event, frozen=True, tag="session.finished"):
    """status: `finished` (answered), `limited` (a limit ended it), `stopped`, `failed`."""

    status: str
    answer: Text | None = None
    partial: bool = False
    """The answer is what was there when the session ended early."""
    error: ErrorInfo | None = None


# Nodes and steps ----------------------------------------------------------------------------------------------------


class NodeStarted(Event, frozen=True, tag="node.started"):
    """A recursive call began. For the root, `parent` is None."""

    node: int
    parent: int | None
    depth: int
    prompt: Text
    model: str
    step: int = 0
    cell: int = 0
    subcall: str = ""
    index: int = 0
    """Where in the parent the call was made: its step, cell, sub-call and place in the batch."""


class NodeSandbox(Event, frozen=True, tag="node.sandbox"):
    """state: `ready`, `lost` (it died; the node is rebuilt from the journal), `rebuilt`, `ended`."""

    node: int
    state: str
    provider: str = ""
    tier: str = ""
    sandbox: str = ""
    reason: str = ""


class NodeFinished(Event, frozen=True, tag="node.finished"):
    """status: `finished`, `limited`, `stopped`, `failed`."""

    node: int
    status: str
    answer: Text | None = None
    partial: bool = False
    error: ErrorInfo | None = None


class StepStarted(Event, frozen=True, tag="step.started"):
    """One turn of a node began (or began again: `attempt` > 1). `messages` are those new in the prompt."""

    node: int
    step: int
    attempt: int = 1
    messages: list[MessageInfo] = []


class StepWaiting(Event, frozen=True, tag="step.waiting"):
    """The step holds no worker: it waits for `children` child nodes."""

    node: int
    step: int
    children: int


class StepResumed(Event, frozen=True, tag="step.resumed"):
    node: int
    step: int


class StepRetried(Event, frozen=True, tag="step.retried"):
    """The step lost its worker or its sandbox and was taken up again."""

    node: int
    step: int
    attempt: int
    reason: str


class StepFinished(Event, frozen=True, tag="step.finished"):
    """status: `finished`, `failed`, `stopped`, `limited`."""

    node: int
    step: int
    status: str
    duration_ms: int = 0
    error: ErrorInfo | None = None


# LM calls -----------------------------------------------------------------------------------------------------------


class LmStarted(Event, frozen=True, tag="lm.started"):
    """kind: `turn` (the node's own step), `leaf` (`llm_query`), `compaction`, `final` (the last request for an answer)."""

    node: int
    step: int
    call: int
    kind: str
    model: str
    cell: int = 0
    subcall: str = ""
    index: int = 0
    prompt: Text | None = None
    """The prompt of a leaf call; a turn's prompt is the node's conversation."""


class LmOutput(Event, frozen=True, tag="lm.output"):
    """More of the reply of a turn, as it streams. `lm.finished` has the whole."""

    node: int
    call: int
    text: str


class LmFinished(Event, frozen=True, tag="lm.finished"):
    """Token counts are the API's own. `cost_micro_usd` is None when no price is known: unknown, not free."""

    node: int
    call: int
    reply: Text
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    cost_micro_usd: int | None = None
    cost_source: str = ""
    """`provider`, `price table <date>`, `team price`, `local`, `scripted`, `unknown`."""
    duration_ms: int = 0
    attempts: int = 1
    maybe_repeated: bool = False
    """A worker died while the call was out: the API may have been asked twice; it is booked once."""


class LmFailed(Event, frozen=True, tag="lm.failed"):
    """The call failed for good, after its retries. Code in the sandbox sees `Error: ...`."""

    node: int
    call: int
    error: ErrorInfo
    duration_ms: int = 0
    attempts: int = 1


# Cells and sub-calls ------------------------------------------------------------------------------------------------


class CellStarted(Event, frozen=True, tag="cell.started"):
    """`attempt` > 1: the cell runs again after its sandbox was lost; what it printed before is replaced."""

    node: int
    step: int
    cell: int
    code: Text
    attempt: int = 1
    built_in: bool = False
    """Written by the product (a probe, the fetching of an answer), not by the model."""


class CellOutput(Event, frozen=True, tag="cell.output"):
    """stream: `stdout` or `stderr`. `late`: written after the cell had ended, by what it left running."""

    node: int
    step: int
    cell: int
    stream: str
    text: Text
    late: bool = False


class CellFinished(Event, frozen=True, tag="cell.finished"):
    """status as in the runner protocol: `ok`, `error`, `interrupted`, `timeout`, `killed`."""

    node: int
    step: int
    cell: int
    status: str
    duration_ms: int = 0
    error: ErrorInfo | None = None
    variables: list[VariableInfo] = []
    variables_omitted: int = 0
    output_bytes: int = 0
    dropped_bytes: int = 0
    answered: bool = False


class SubcallOpened(Event, frozen=True, tag="subcall.opened"):
    """Code made a call. kind: `llm` or `rlm`; `count` prompts; `batch` when it was a `_batched` call."""

    node: int
    step: int
    cell: int
    subcall: str
    kind: str
    count: int
    batch: bool = False


class SubcallClosed(Event, frozen=True, tag="subcall.closed"):
    """All prompts of the call are answered; `failed` of them with an error."""

    node: int
    step: int
    cell: int
    subcall: str
    failed: int = 0


# Others -------------------------------------------------------------------------------------------------------------


class SnapshotTaken(Event, frozen=True, tag="snapshot.taken"):
    """The state of the node's sandbox at the end of `step` is stored and can be gone back to."""

    node: int
    step: int
    snapshot: str
    holds: list[str] = []
    """Of `variables`, `files`, `memory`."""
    size_bytes: int = 0
    stored_bytes: int = 0
    """What it added to the store, compressed; the rest is shared with earlier snapshots."""
    dropped: list[str] = []
    """Names of variables and files that it does not hold (the first twenty); the snapshot has the reasons."""
    changed: list[str] = []
    """Variables that were added, changed or deleted (`-name`) since the node's snapshot before (the first fifty)."""


class SnapshotFailed(Event, frozen=True, tag="snapshot.failed"):
    """No snapshot of this step: going back to it is not possible. The step itself is not affected."""

    node: int
    step: int
    reason: str


class LimitHit(Event, frozen=True, tag="limit.hit"):
    """limit: name in `Limits`, or `quota.<resource>.<scope>.<period>` of the quota that has no room. `used` and `allowed` in
    the limit's own unit, which its name carries."""

    limit: str
    used: float
    allowed: float
    node: int | None = None
    step: int | None = None
    partial: Text | None = None


class Compaction(Event, frozen=True, tag="compaction"):
    """The node's conversation was replaced by its first messages and `summary`."""

    node: int
    step: int
    summary: Text
    before_tokens: int = 0
    after_tokens: int = 0


class Log(Event, frozen=True, tag="log"):
    """level: `info`, `warning`, `error`."""

    level: str
    message: str
    node: int | None = None
    step: int | None = None


class Gap(Event, frozen=True, tag="gap"):
    """Something is missing here and is known to be missing, with the reason."""

    reason: str
    node: int | None = None


AnyEvent = (
    SessionStarted
    | SessionForked
    | SessionStopRequested
    | SessionFinished
    | NodeStarted
    | NodeSandbox
    | NodeFinished
    | StepStarted
    | StepWaiting
    | StepResumed
    | StepRetried
    | StepFinished
    | LmStarted
    | LmOutput
    | LmFinished
    | LmFailed
    | CellStarted
    | CellOutput
    | CellFinished
    | SubcallOpened
    | SubcallClosed
    | SnapshotTaken
    | SnapshotFailed
    | LimitHit
    | Compaction
    | Log
    | Gap
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


def encode_event(event: Event) -> bytes:
    """The event's own fields as a JSON object with `type`; `seq` and `at` are added by the recorder."""
    return _encoder.encode(event)


def decode_event(data: bytes | str) -> AnyEvent:
    """Raises `msgspec.ValidationError` on an unknown type: a log we cannot read in full is not shown as if we could."""
    event: AnyEvent = _decoder.decode(data)
    return event


def wire_text(seq: int, at_ms: int, data: str) -> str:
    """The stored event as it is sent: `data` is the stored JSON text, spliced and not parsed again."""
    return f'{{"seq":{seq},"at":{at_ms},{data[1:]}'
