"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema

from runs.models import Context, Node, Session

MAX_TEXT_CHARS = 8 * 2**20
"""A request with a JSON body is held in memory; longer texts are uploaded."""


class Problem(Schema):
    """An error: `type` is stable, `message` says what was wrong, `hint` what to do."""

    type: str
    message: str
    hint: str = ""


class WithKind(Schema):
    """`kind`: how the code sees the context; empty: as it looks."""

    kind: Literal["", "text", "json", "bytes"] = ""


class NewContext(WithKind):
    name: str = Field("context.txt", max_length=255)
    text: str = Field(max_length=MAX_TEXT_CHARS)


class NewUpload(WithKind):
    name: str = Field("upload", max_length=255)
    size_bytes: int = Field(ge=1, le=2**63 - 1)


class UploadOut(Schema):
    ticket: str
    part_bytes: int


class UploadState(Schema):
    received_bytes: int


class NewFromPath(WithKind):
    path: str = Field(max_length=4096)


class NewFromUrl(WithKind):
    url: str = Field(max_length=4096)


class NewExample(Schema):
    slug: str = Field(max_length=100)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    size_bytes: int | None = Field(None, ge=1, le=10**12)
    question_kind: str | None = Field(None, max_length=100)


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


class ContextPage(Schema):
    """`next` is the `before` of the next page, or null at the end."""

    contexts: list[ContextOut]
    next: int | None


class ExampleOut(Schema):
    """`expected` is the right answer; `tag` goes into a configuration as `example`."""

    context: ContextOut
    question: str
    expected: str
    tag: str
    note: str


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
    pinned: bool
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
    node: int = Field(0, ge=0, le=2**31 - 1)


class Stopped(Schema):
    """`stopped` is false when there was nothing left to stop."""

    stopped: bool


class CredentialOut(Schema):
    uuid: UUID
    name: str
    api: str
    base_url: str
    key_hint: str


class ModelsOut(Schema):
    embedded: dict[str, Any]
    """`state` is `absent`, `downloading` (`bytes` of `total`), `loading`, `ready` or `failed` (`error`)."""
    credentials: list[CredentialOut]
    scripted: list[str]


class ProviderOut(Schema):
    name: str
    tier: str
    """What a sandbox gets when nothing is asked for; empty when there is none."""
    tiers: dict[str, str]
    problem: str


class CatalogueEntry(Schema):
    slug: str
    title: str
    summary: str
    question: str
    question_kinds: list[str]
    size_bytes_hint: int
    min_size_bytes: int
    max_size_bytes: int
    small_model_kinds: list[str]
