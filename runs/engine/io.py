"""What goes into the engine (inputs) and what comes out of it (commands).

The engine is a state machine without I/O: the driver (`runs.services.driver`, or `runs.engine.inmemory` in tests) feeds
what happened and carries out what is asked, after it has committed both. So a step can be taken up again by another
worker at any point: the journal answers calls that were made, the runner says which cells ran, and the machine, being
deterministic given the replies, asks for the rest.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runs.events.types import ErrorInfo, Event
from sandboxes.frames import Finished, Output, RunnerError, SubCall


class CallKey(msgspec.Struct, frozen=True, order=True):
    """Where in a step an LM call or a child belongs. A turn is `(0, "turn", 0)`; compaction `(0, "compaction", 0)`."""

    cell: int
    subcall: str
    index: int = 0


TURN = CallKey(0, "turn")
COMPACTION = CallKey(0, "compaction")
FINAL = CallKey(0, "final")


class ChatMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


# Inputs -------------------------------------------------------------------------------------------------------------


class ModelText(msgspec.Struct, frozen=True, tag=True):
    """More of a streaming reply."""

    call: CallKey
    text: str


class ModelReplied(msgspec.Struct, frozen=True, tag=True):
    """`recorded`: it came from the journal, nothing was paid."""

    call: CallKey
    text: str
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    recorded: bool = False


class ModelFailed(msgspec.Struct, frozen=True, tag=True):
    """The call failed after its retries."""

    call: CallKey
    error: ErrorInfo


class CallRefused(msgspec.Struct, frozen=True, tag=True):
    """A limit of the whole tree does not allow this call (or child, or cell). `limit` names it; units as in `Limits`."""

    call: CallKey
    limit: str
    used: float
    allowed: float


class ChildEnded(msgspec.Struct, frozen=True, tag=True):
    """A child node is over. `answer` may be partial; `error` is set when there is none."""

    call: CallKey
    answer: str | None = None
    partial: bool = False
    error: str | None = None


class RunnerSaid(msgspec.Struct, frozen=True, tag=True):
    """A frame from the node's sandbox, payload files already fetched into `text`."""

    frame: SubCall | Output | Finished | RunnerError


class SandboxReplaced(msgspec.Struct, frozen=True, tag=True):
    """The sandbox was lost and a new one stands where the node was before the running cell: run that cell again."""

    reason: str


class LimitReached(msgspec.Struct, frozen=True, tag=True):
    """A limit of the whole tree that is not about one call (wall time, output bytes, sandbox seconds) is reached."""

    limit: str
    used: float
    allowed: float


class CellOverdue(msgspec.Struct, frozen=True, tag=True):
    """The host's own clock says that the running cell is past its time."""

    cell: int


Input = (
    ModelText
    | ModelReplied
    | ModelFailed
    | CallRefused
    | ChildEnded
    | RunnerSaid
    | SandboxReplaced
    | LimitReached
    | CellOverdue
)


# Commands -----------------------------------------------------------------------------------------------------------


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Ask a model. `role` chooses between the session's root and sub model; `model` is a name the code asked for."""

    call: CallKey
    kind: Literal["turn", "leaf", "compaction", "final"]
    messages: tuple[ChatMessage, ...]
    role: Literal["root", "sub"] = "sub"
    model: str | None = None
    max_output_tokens: int | None = None
    extra: dict[str, Any] = {}


class RunCell(msgspec.Struct, frozen=True, tag=True):
    """`cell` counts from 1 in the step. `timeout_s` is wall time without the waiting for sub-calls."""

    cell: int
    code: str
    timeout_s: float
    attempt: int = 1


class AnswerSubcall(msgspec.Struct, frozen=True, tag=True):
    call: CallKey
    text: str | None = None
    error: str | None = None


class OpenChildren(msgspec.Struct, frozen=True, tag=True):
    """Open a child node for each `(index, prompt)` of one sub-call. Existing children are found, not opened again."""

    cell: int
    subcall: str
    prompts: tuple[tuple[int, str], ...]


class InterruptCell(msgspec.Struct, frozen=True, tag=True):
    cell: int
    reason: Literal["stop", "timeout", "limit"]


class Emit(msgspec.Struct, frozen=True, tag=True):
    """Record an event. Long strings are stored as blobs by the recorder."""

    event: Event


class AppendMessages(msgspec.Struct, frozen=True, tag=True):
    """The conversation grows."""

    messages: tuple[ChatMessage, ...]


class ReplaceConversation(msgspec.Struct, frozen=True, tag=True):
    """Compaction: from now on the conversation is `messages`; the old one is kept."""

    messages: tuple[ChatMessage, ...]


class Suspend(msgspec.Struct, frozen=True, tag=True):
    """Nothing to do before a child ends: let go of the worker. `children` are still open."""

    children: tuple[CallKey, ...]


class NextStep(msgspec.Struct, frozen=True, tag=True):
    """The step is over and the node goes on."""


class EndNode(msgspec.Struct, frozen=True, tag=True):
    """The step is over and so is the node."""

    status: Literal["finished", "limited", "failed"]
    answer: str | None = None
    partial: bool = False
    error: ErrorInfo | None = None
    limit: str | None = None
    """Set when a limit of the whole tree ended it: the session ends too."""


Command = (
    Ask
    | RunCell
    | AnswerSubcall
    | OpenChildren
    | InterruptCell
    | Emit
    | AppendMessages
    | ReplaceConversation
    | Suspend
    | NextStep
    | EndNode
)
