"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field, Schema

from runs.models import Context, Node, Session

MAX_TEXT_CHARS = 50_000_000


class Problem(Schema):
    """An error: `type` is stable, `message` says what was wrong, `hint` what to do."""

    type: str
    message: str
    hint: str = ""


class NewContext(Schema):
    name: str = Field("context.txt", max_length=255)
    text: str = Field(max_length=MAX_TEXT_CHARS)


class ContextOut(Schema):
    uuid: UUID
    name: str
    kind: str
    size_bytes: int
    sha256: str
    source: str
    note: str
    created_at: datetime

    @staticmethod
    def of(context: Context) -> ContextOut:
        return ContextOut.from_orm(context)


class NewSession(Schema):
    question: str = Field(min_length=1, max_length=200_000)
    context: UUID
    config: dict[str, Any]
    """A session configuration: `root` and `sub` model, `limits`, `provider`, `tier`, `tools`..."""
    title: str = Field("", max_length=200)
    team: UUID | None = None


class Usage(Schema):
    """What the whole tree has used so far."""

    nodes: int
    steps: int
    lm_calls: int
    lm_calls_failed: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int
    calls_without_price: int
    errors: int
    output_bytes: int
    sandbox_ms: int
    gpu_ms: int


class SessionOut(Schema):
    uuid: UUID
    title: str
    question: str
    status: str
    labels: list[str]
    answer: str | None
    answer_partial: bool
    error_type: str
    error_message: str
    context: UUID
    config: dict[str, Any]
    usage: Usage
    last_seq: int
    created_at: datetime
    finished_at: datetime | None

    @staticmethod
    def of(session: Session) -> SessionOut:
        fields = {name: getattr(session, name) for name in SessionOut.model_fields if hasattr(session, name)}
        fields |= {"context": session.context.uuid, "last_seq": session.meter.last_seq}
        return SessionOut(**fields | {"usage": Usage.from_orm(session.meter)})


class SessionPage(Schema):
    """`next` is the `before` of the next page, or null at the end."""

    sessions: list[SessionOut]
    next: int | None


class NodeOut(Schema):
    number: int
    parent: int | None
    depth: int
    status: str
    answer_partial: bool
    error_type: str
    error_message: str
    created_at: datetime
    finished_at: datetime | None

    @staticmethod
    def of(node: Node) -> NodeOut:
        fields = {name: getattr(node, name) for name in NodeOut.model_fields if name != "parent"}
        return NodeOut(**fields, parent=node.parent.number if node.parent is not None else None)


class StopRequest(Schema):
    node: int = Field(0, ge=0)


class Stopped(Schema):
    """`stopped` is false when there was nothing left to stop."""

    stopped: bool
