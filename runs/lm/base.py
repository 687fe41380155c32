"""What the product asks of a language model, and what it gets back.

An *LM client* speaks one API (OpenAI-compatible, Anthropic, Gemini, scripted). It is asynchronous, lives on the
process's background loop, and may be used for many calls at once. Retries with back-off happen inside the client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Api = Literal["openai", "anthropic", "gemini", "embedded", "scripted"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """None means the API's own default."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, at which endpoint, with which team key. Plain data: it is stored with the session.

    `profile` chooses the prompts: `standard`, or `small` for models of a few billion parameters.
    `credential` is the uuid of a stored team key; empty for models that need none.
    """

    api: Api
    model: str
    base_url: str = ""
    credential: str = ""
    profile: str = "standard"
    sampling: Sampling = field(default_factory=Sampling)
    extra: Mapping[str, object] = field(default_factory=dict)
    """API-specific request fields, e.g. `{"grammar": "..."}` or the script of a scripted model."""

    @property
    def label(self) -> str:
        """Name for people."""
        return self.model


@dataclass(frozen=True, slots=True)
class LmRequest:
    """One call. `key` identifies it for logs and for the scripted model: `node/step/cell/subcall/index`."""

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    key: str = ""
    kind: str = "leaf"
    """`turn`, `leaf`, `compaction` or `final`, as in the event log."""
    depth: int = 0
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """The API's own counts; None where it gives none. `reported_cost_usd` only where the API itself prices the call.

    `input_tokens` are all of them; `cached_input_tokens` (read from a cache) and `cache_write_tokens` are among them.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reported_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class LmReply:
    text: str
    usage: Usage
    finish_reason: str = "stop"
    """`stop`, `length`, `content_filter` or the API's own word."""
    model: str = ""
    """The model that the API says it used."""
    attempts: int = 1


OnText = Callable[[str], None]
"""Called on the background loop with each new piece of the reply's text; must return at once."""


class LmClient(Protocol):
    async def complete(self, request: LmRequest, on_text: OnText | None = None) -> LmReply:
        """Answer one request, streaming its text to `on_text` when given. Cancelling stops the call at the API.

        Raises `LmError` (see `runs.lm.errors`) after its own retries.
        """

    async def aclose(self) -> None: ...
