"""Anthropic's Messages API, natively: its OpenAI-compatible endpoint has no prompt caching and is offered for
trials only.

A node's conversation grows turn by turn and is sent whole each time, so turns ask for caching: the vendor
then reads the known beginning at a tenth of the price. Leaf calls are asked once and would pay for the
writing only.
"""

from __future__ import annotations

from typing import Any

import anthropic
from anthropic.types import Message as AnthropicMessage

from runs.lm import sdk
from runs.lm.addresses import check_base_url
from runs.lm.base import LmReply, LmRequest, ModelChoice, OnText, Usage
from runs.lm.errors import LmError, LmMalformedReply, LmTimeout, LmUnavailable
from runs.lm.retry import RetryPolicy, policy_of, with_retries
from runs.lm.site import Site
from runs.lm.transport import http_client
from runs.text import scrub

ANTHROPIC_URL = "https://api.anthropic.com"
DEFAULT_MAX_TOKENS = 8192
"""The API wants a number. Enough for any turn or answer; `Sampling.max_output_tokens` overrides it."""
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
}

ERRORS: sdk.ErrorMap = (
    (anthropic.APITimeoutError, lambda error, key: LmTimeout("The endpoint did not answer in time.")),
    (
        anthropic.APIConnectionError,
        lambda error, key: LmUnavailable(f"No connection to the endpoint: {error.__cause__ or error}"),
    ),
    (anthropic.APIResponseValidationError, sdk.malformed),
    (anthropic.APIStatusError, sdk.from_status),
    (anthropic.APIError, sdk.from_status),
    (anthropic.AnthropicError, sdk.malformed),
    *sdk.HTTP_ERRORS,
)


class AnthropicClient:
    """Messages at one endpoint with one key."""

    def __init__(
        self, choice: ModelChoice, key: str, sdk_client: anthropic.AsyncAnthropic, policy: RetryPolicy
    ) -> None:
        self._choice = choice
        self._key = key
        self._sdk = sdk_client
        self._policy = policy

    async def complete(self, request: LmRequest, on_text: OnText | None = None) -> LmReply:
        fields = self._fields(request)
        sink = sdk.TextSink(on_text)

        async def attempt(number: int) -> LmReply:
            try:
                if on_text is None:
                    return _reply(await self._sdk.messages.create(**fields))
                return await self._streamed(fields, sink)
            except LmError:
                raise
            except Exception as error:  # translate() raises what no table knows
                raise sdk.translate(error, ERRORS, self._key) from error

        return await with_retries(attempt, self._policy)

    async def aclose(self) -> None:
        await self._sdk.close()

    def _fields(self, request: LmRequest) -> dict[str, Any]:
        sampling = sdk.merged(self._choice, request)
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        fields = {
            "model": self._choice.model,
            "max_tokens": sampling.max_output_tokens or DEFAULT_MAX_TOKENS,
            "messages": _conversation(request),
            "system": system or None,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_sequences": list(sampling.stop) or None,
            "cache_control": {"type": "ephemeral"} if request.kind == "turn" else None,
            "extra_body": sdk.extra_fields(self._choice, request) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    async def _streamed(self, fields: dict[str, Any], sink: sdk.TextSink) -> LmReply:
        take = sink.for_attempt()
        message: AnthropicMessage | None = None
        pieces: list[str] = []
        complete = False
        events = await self._sdk.messages.create(**fields, stream=True)
        async with events:
            # Read as they come, not through the SDK's accumulator, which trusts the endpoint to keep their
            # order.
            async for event in events:
                if event.type == "message_start":
                    message = event.message
                elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                    pieces.append(event.delta.text)
                    take(event.delta.text)
                elif event.type == "message_delta" and message is not None:
                    message.stop_reason = event.delta.stop_reason
                    message.usage.output_tokens = event.usage.output_tokens
                complete = complete or event.type == "message_stop"
        if message is None or not complete:
            raise LmMalformedReply("The endpoint's stream ended before the reply was complete.")
        return _reply(message, "".join(pieces))


def _conversation(request: LmRequest) -> list[dict[str, str]]:
    """Turns without the system part; neighbours of one role are joined because the API wants them to
    alternate."""
    turns: list[dict[str, str]] = []
    for message in request.messages:
        if message.role == "system":
            continue
        if turns and turns[-1]["role"] == message.role:
            turns[-1]["content"] += f"\n\n{message.content}"
        else:
            turns.append({"role": message.role, "content": message.content})
    return turns or [{"role": "user", "content": "Go on."}]


def _reply(message: object, text: str | None = None) -> LmReply:
    if not isinstance(message, AnthropicMessage) or not isinstance(message.content, list):
        raise LmMalformedReply("The endpoint's reply is not a message.")
    if text is None:
        text = "".join(block.text for block in message.content if block.type == "text")
    reason = message.stop_reason or "stop"
    return LmReply(
        scrub(text),
        _usage(message),
        FINISH_REASONS.get(reason, reason),
        model=scrub(message.model or "")[:200],
    )


def _usage(message: AnthropicMessage) -> Usage:
    """The API counts tokens read from or written to its cache apart from the rest of the input."""
    usage: Any = message.usage
    if usage is None:
        return Usage()
    plain = sdk.count(usage.input_tokens)
    read = sdk.count(usage.cache_read_input_tokens) or 0
    written = sdk.count(usage.cache_creation_input_tokens) or 0
    total = None if plain is None else plain + read + written
    return Usage(total, sdk.count(usage.output_tokens), cached_input_tokens=read, cache_write_tokens=written)


def build(choice: ModelChoice, key: str, site: Site) -> AnthropicClient:
    """The client for Anthropic's API. Raises `LmRefusedAddress`."""
    base_url = choice.base_url or ANTHROPIC_URL
    address = check_base_url(base_url, site.allowed_hosts)
    policy = policy_of(choice.extra)
    http = http_client(address, read_timeout_s=policy.attempt_timeout_s)
    client = anthropic.AsyncAnthropic(
        api_key=key or "none", base_url=base_url, max_retries=0, timeout=http.timeout, http_client=http
    )
    return AnthropicClient(choice, key, client, policy)
