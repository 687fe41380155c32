"""Every endpoint that speaks OpenAI's chat completions: OpenAI, OpenRouter, vLLM, Ollama, llama.cpp, Gemini's
and others'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from runs.lm import sdk
from runs.lm.addresses import check_base_url
from runs.lm.base import LmReply, LmRequest, ModelChoice, OnText, Usage
from runs.lm.errors import LmError, LmMalformedReply, LmTimeout, LmUnavailable
from runs.lm.retry import RetryPolicy, policy_of, with_retries
from runs.lm.site import Site
from runs.lm.transport import http_client
from runs.text import scrub

OPENAI_URL = "https://api.openai.com/v1"
OPENROUTER_HOST = "openrouter.ai"
MOST_COST_USD = 10_000.0

ERRORS: sdk.ErrorMap = (
    (openai.APITimeoutError, lambda error, key: LmTimeout("The endpoint did not answer in time.")),
    (
        openai.APIConnectionError,
        lambda error, key: LmUnavailable(f"No connection to the endpoint: {_reason(error)}"),
    ),
    (openai.APIResponseValidationError, sdk.malformed),
    (openai.APIStatusError, sdk.from_status),
    (openai.APIError, sdk.from_status),
    (openai.OpenAIError, sdk.malformed),
    *sdk.HTTP_ERRORS,
)


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error) or type(error.__cause__ or error).__name__


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where endpoints differ. `limit_field`: OpenAI's own newer models refuse `max_tokens`, most others know
    nothing else."""

    limit_field: str = "max_tokens"
    ask_for_cost: bool = False
    hidden_output: bool = False
    """Tokens of hidden thought are in the total but not in the output count (Gemini)."""


class OpenAiCompatibleClient:
    """Chat completions at one endpoint with one key."""

    def __init__(
        self,
        choice: ModelChoice,
        key: str,
        sdk_client: openai.AsyncOpenAI,
        policy: RetryPolicy,
        dialect: Dialect,
    ) -> None:
        self._choice = choice
        self._key = key
        self._sdk = sdk_client
        self._policy = policy
        self._dialect = dialect

    async def complete(self, request: LmRequest, on_text: OnText | None = None) -> LmReply:
        fields = self._fields(request)
        sink = sdk.TextSink(on_text)

        async def attempt(number: int) -> LmReply:
            try:
                if on_text is None:
                    return await self._whole(fields)
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
        extra = sdk.extra_fields(self._choice, request)
        if self._dialect.ask_for_cost:
            extra.setdefault("usage", {"include": True})
        fields = {
            "model": self._choice.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._dialect.limit_field: sampling.max_output_tokens,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
        }
        return {
            **{name: value for name, value in fields.items() if value is not None},
            "extra_body": extra or None,
        }

    async def _whole(self, fields: dict[str, Any]) -> LmReply:
        completion = await self._sdk.chat.completions.create(**fields)
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise LmMalformedReply("The endpoint's reply has no choices.")
        choice: Any = completion.choices[0]
        text = choice.message.content if choice.message.content is not None else choice.message.refusal or ""
        if not isinstance(text, str):
            raise LmMalformedReply("The text of the endpoint's reply is not text.")
        return LmReply(
            scrub(text),
            self._usage(completion.usage),
            choice.finish_reason or "stop",
            model=_name(completion.model),
        )

    async def _streamed(self, fields: dict[str, Any], sink: sdk.TextSink) -> LmReply:
        take = sink.for_attempt()
        pieces: list[str] = []
        finish_reason, model, usage = "", "", Usage()
        chunks = await self._sdk.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True})
        async with chunks:
            async for chunk in chunks:
                if not isinstance(chunk, ChatCompletionChunk):
                    raise LmMalformedReply("The endpoint streams something that is not a chat completion.")
                model = model or _name(chunk.model)
                if chunk.usage is not None:
                    usage = self._usage(chunk.usage)
                for choice in chunk.choices[:1]:
                    if piece := choice.delta.content:
                        pieces.append(piece)
                        take(piece)
                    finish_reason = choice.finish_reason or finish_reason
        if not finish_reason:
            raise LmMalformedReply("The endpoint's stream ended before the reply was complete.")
        return LmReply(scrub("".join(pieces)), usage, finish_reason, model=model)

    def _usage(self, usage: CompletionUsage | None) -> Usage:
        if usage is None:
            return Usage()
        asked, told, total = (
            sdk.count(usage.prompt_tokens),
            sdk.count(usage.completion_tokens),
            sdk.count(usage.total_tokens),
        )
        if self._dialect.hidden_output and total is not None and asked is not None:
            told = max(told or 0, total - asked)
        cached = sdk.count(getattr(usage.prompt_tokens_details, "cached_tokens", None)) or 0
        return Usage(
            asked,
            told,
            cached_input_tokens=cached,
            reported_cost_usd=_cost((usage.model_extra or {}).get("cost")),
        )


def _name(model: object) -> str:
    return scrub(model)[:200] if isinstance(model, str) else ""


def _cost(value: object) -> float | None:
    """A price that the endpoint itself reports; nonsense counts as none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= MOST_COST_USD else None


def build(choice: ModelChoice, key: str, site: Site) -> OpenAiCompatibleClient:
    """The client for an OpenAI-compatible endpoint. Raises `LmRefusedAddress`."""
    return client_at(choice, key, site, choice.base_url or OPENAI_URL)


def client_at(
    choice: ModelChoice, key: str, site: Site, base_url: str, dialect: Dialect | None = None
) -> OpenAiCompatibleClient:
    address = check_base_url(base_url, site.allowed_hosts)
    policy = policy_of(choice.extra)
    http = http_client(address, read_timeout_s=policy.attempt_timeout_s)
    client = openai.AsyncOpenAI(
        # Endpoints without keys (Ollama, vLLM) get a word instead, because None would make the SDK read the
        # environment.
        api_key=key or "none",
        base_url=base_url,
        max_retries=0,
        timeout=http.timeout,
        http_client=http,
    )
    if dialect is None:
        dialect = Dialect(
            limit_field="max_completion_tokens" if address.host == "api.openai.com" else "max_tokens",
            ask_for_cost=address.host == OPENROUTER_HOST,
        )
    return OpenAiCompatibleClient(choice, key, client, policy, dialect)
