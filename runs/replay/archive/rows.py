"""Rows of an archive: what stands in its tables, by numbers and uuids of the session and never by keys of a database.

A reader refuses fields that it does not know: a later release that adds some raises the version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
NoSha256 = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
"""Empty: there is none."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Label = Annotated[str, msgspec.Meta(max_length=200)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Outcome = Literal["running", "finished", "limited", "stopped", "failed"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all rows."""


class About(Row, frozen=True, kw_only=True):
    """`archive.json`. `counts`: rows of each table and number of contents."""

    format: str
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    rlmweb: Word
    created_at: Time
    installation: Label = ""
    with_context: bool
    with_snapshots: bool
    counts: dict[Word, Count]
    snapshots_left_out: Number = 0
    """Whose contents were not there any more."""
    removed: list[Label] = []
    """Fields of the configuration that were emptied because they are, or may hold, secrets."""


class Meter(Row, frozen=True, kw_only=True):
    """What the session used; fields of `runs.models.SessionMeter`."""

    last_seq: Count = 0
    last_call: Number = 0
    nodes: Number = 0
    steps: Number = 0
    lm_calls: Number = 0
    lm_calls_failed: Number = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cost_micro_usd: Count = 0
    calls_without_price: Number = 0
    errors: Number = 0
    output_bytes: Count = 0
    sandbox_ms: Count = 0
    gpu_ms: Count = 0


class SessionRow(Row, frozen=True, kw_only=True):
    """`session.json`. `forked_after`: the step that it went on from, where it is a fork itself."""

    uuid: UUID
    title: Label
    question: str
    status: Outcome
    answer: str | None
    answer_partial: bool
    error_type: Word
    error_message: str
    config: dict[str, Any]
    forked_after: Number = 0
    created_at: Time
    finished_at: Time | None
    meter: Meter


class ContextRow(Row, frozen=True, kw_only=True):
    """`sha256` is empty when the archive was made without it."""

    name: Annotated[str, msgspec.Meta(max_length=255)]
    kind: Literal["text", "json", "bytes"]
    sha256: NoSha256
    size_bytes: Count
    note: str


class NodeRow(Row, frozen=True, kw_only=True):
    number: Number
    parent: Number | None
    parent_step: Number | None
    cell: Number
    subcall: Annotated[str, msgspec.Meta(max_length=32)]
    index: Number
    depth: Number
    status: Outcome
    prompt_sha256: NoSha256
    prompt_chars: Count
    answer_sha256: NoSha256
    answer_partial: bool
    error_type: Word
    error_message: str
    state: dict[str, Any]
    base_snapshot: UUID | None
    base_code: str
    finished_at: Time | None


class StepRow(Row, frozen=True, kw_only=True):
    node: Number
    number: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    status: Literal["ready", "running", "waiting", "finished", "failed", "stopped", "limited"]
    attempt: Number
    crashes: Number
    state: dict[str, Any]
    node_state: dict[str, Any]
    error_type: Word
    error_message: str
    started_at: Time | None
    finished_at: Time | None


class MessageRow(Row, frozen=True, kw_only=True):
    node: Number
    epoch: Number
    position: Number
    step_number: Number
    role: Annotated[str, msgspec.Meta(max_length=16)]
    content: str


class CallRow(Row, frozen=True, kw_only=True):
    node: Number
    step: Number
    number: Number
    kind: Annotated[str, msgspec.Meta(max_length=16)]
    cell: Number
    subcall: Annotated[str, msgspec.Meta(max_length=32)]
    index: Number
    request_sha256: Sha256
    model: Label
    status: Literal["started", "finished", "failed", "abandoned"]
    reply: str
    error_type: Word
    error_message: str
    input_tokens: Number | None
    output_tokens: Number | None
    cost_micro_usd: Count | None
    maybe_repeated: bool
    started_at: Time
    finished_at: Time | None


class DroppedRow(Row, frozen=True, kw_only=True):
    """A variable or file that a snapshot does not hold."""

    name: Annotated[str, msgspec.Meta(max_length=1000)]
    type: Label = ""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class SnapshotRow(Row, frozen=True, kw_only=True):
    uuid: UUID
    node: Number
    step_number: Number
    provider: Annotated[str, msgspec.Meta(max_length=32)]
    manifest_sha256: Sha256
    python: Annotated[str, msgspec.Meta(max_length=32)]
    parent: UUID | None
    holds: Annotated[list[Literal["variables", "files", "memory"]], msgspec.Meta(max_length=3)]
    dropped: Annotated[list[DroppedRow], msgspec.Meta(max_length=100)]
    size_bytes: Count


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """What every event of the log has; the rest is `runs.events.types`."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    at: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    type: str
    node: Number | None = None


class MemberSum(Row, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(max_length=100)]
    size_bytes: Count
    sha256: Sha256


class Checksums(Row, frozen=True, kw_only=True):
    """`checksums.json`: every member before it, in order, and the SHA-256 of the list as `sha256sum` prints it."""

    list_sha256: Sha256
    members: list[MemberSum]
