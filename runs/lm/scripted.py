"""The scripted model: replies by rule, seeded, with latency and faults.

It is no language model and is always shown as `scripted:...`. A reply depends on the request and the seed alone, not on
anything remembered, so it is the same on every worker, after a crash and on every attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from runs.lm.base import LmReply, LmRequest, ModelChoice, OnText, Usage
from runs.lm.errors import (
    LmAuthFailed,
    LmBadRequest,
    LmContextTooLong,
    LmError,
    LmMalformedReply,
    LmRateLimited,
    LmUnavailable,
    LmUnknownModel,
)
from runs.lm.ledger import Ledger
from runs.lm.retry import RetryPolicy, policy_of, with_retries
from runs.lm.script import OFFLINE_CHARS_PER_TOKEN, Facts, Script, Then, fits, parse_script
from runs.lm.scripts import built_in_script
from runs.lm.site import Site
from runs.text import scrub

PREFIX = "scripted:"
MOST_PIECES = 40
HANG_S = 24 * 3600.0

FAULTS: dict[str, Callable[[Then], LmError]] = {
    "400": lambda then: LmBadRequest("scripted fault: the endpoint refused the request", status=400),
    "401": lambda then: LmAuthFailed("scripted fault: the endpoint refused the key", status=401),
    "404": lambda then: LmUnknownModel("scripted fault: no such model", status=404),
    "429": lambda then: LmRateLimited("scripted fault: slow down", retry_after_s=then.retry_after_s, status=429),
    "500": lambda then: LmUnavailable("scripted fault: internal error", status=500),
    "503": lambda then: LmUnavailable("scripted fault: overloaded", status=503),
    "context": lambda then: LmContextTooLong("scripted fault: the prompt is too long", status=400),
    "malformed": lambda then: LmMalformedReply("scripted fault: the reply is not JSON"),
    "truncated": lambda then: LmMalformedReply("scripted fault: the stream ended early"),
    "reset": lambda then: LmUnavailable("scripted fault: connection reset"),
}


class ScriptedClient:
    """Answers requests from a script."""

    def __init__(self, script: Script, model: str, policy: RetryPolicy, ledger: Ledger | None = None) -> None:
        if not model.startswith(PREFIX):
            raise LmBadRequest(f"A scripted model is called {PREFIX}NAME, not {model!r}.")
        self._script = script
        self._model = model
        self._policy = policy
        self._ledger = ledger

    async def complete(self, request: LmRequest, on_text: OnText | None = None) -> LmReply:
        facts = Facts(request)
        then = self._rule(facts)
        if then.fault is None:
            return await self._answer(facts, then, 1, on_text)
        return await with_retries(lambda attempt: self._answer(facts, then, attempt, on_text), self._policy)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _rule(self, facts: Facts) -> Then:
        for number, rule in enumerate(self._script.rules):
            if fits(rule.when, facts) and self._drawn(facts, f"rule {number}", rule.when.share):
                return rule
        if self._script.default is None:
            request = facts.request
            raise LmUnknownModel(
                f"{self._model} has no rule for {request.kind} {request.key!r} at depth {request.depth}."
            )
        return self._script.default

    async def _answer(self, facts: Facts, then: Then, attempt: int, on_text: OnText | None) -> LmReply:
        if self._ledger is not None:
            self._ledger.note(facts.request.key, facts.request.kind, attempt)
        latency_ms = self._latency_ms(facts, then)
        if latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        fault = then.fault if self._fails(facts, then, attempt) else None
        if fault == "hang":
            await asyncio.sleep(HANG_S)
        if fault in FAULTS:
            raise FAULTS[fault](then)
        text = "" if fault == "empty" else scrub(facts.fill(self._pick(facts, then)))
        if fault == "length":
            text = text[: len(text) // 2]
        await _stream(text, then.stream_ms, on_text)
        finish_reason = "length" if fault == "length" else "stop"
        return LmReply(text, _usage(facts.request, text, then), finish_reason, model=self._model)

    def _pick(self, facts: Facts, then: Then) -> str:
        if isinstance(then.reply, str):
            return then.reply
        if not then.reply:
            return ""
        return then.reply[int(self._draw(facts, "reply") * len(then.reply))]

    def _latency_ms(self, facts: Facts, then: Then) -> float:
        return then.latency_ms + then.jitter_ms * self._draw(facts, "jitter") if then.jitter_ms else then.latency_ms

    def _fails(self, facts: Facts, then: Then, attempt: int) -> bool:
        if then.fault is None or (then.fault_attempts is not None and attempt > then.fault_attempts):
            return False
        return self._drawn(facts, f"fault {attempt}", then.fault_rate)

    def _drawn(self, facts: Facts, what: str, share: float | None) -> bool:
        return share is None or share >= 1 or self._draw(facts, what) < share

    def _draw(self, facts: Facts, what: str) -> float:
        """A number in [0, 1) that depends on seed, key and purpose only."""
        # Without what stands before the place in the tree (the session): each session draws the same.
        place = "/".join(facts.request.key.split("/")[-5:])
        digest = hashlib.blake2b(f"{self._script.seed}\n{place}\n{what}".encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big") / 2**56


async def _stream(text: str, stream_ms: float, on_text: OnText | None) -> None:
    """Hand out `text` in pieces spread over `stream_ms`; without a listener only the time passes."""
    if on_text is None:
        if stream_ms:
            await asyncio.sleep(stream_ms / 1000)
        return
    count = min(MOST_PIECES, max(1, len(text))) if stream_ms else 1
    size = -(-len(text) // count) or 1
    for start in range(0, len(text), size):
        on_text(text[start : start + size])
        if stream_ms:
            await asyncio.sleep(stream_ms / 1000 / count)


def _usage(request: LmRequest, text: str, then: Then) -> Usage:
    if then.usage is not None:
        return Usage(then.usage.input_tokens, then.usage.output_tokens)
    asked = sum(len(message.content) for message in request.messages)
    return Usage(-(-asked // OFFLINE_CHARS_PER_TOKEN), -(-len(text) // OFFLINE_CHARS_PER_TOKEN))


def build(choice: ModelChoice, key: str, site: Site) -> ScriptedClient:
    """A client for `choice`: the script in `extra["script"]`, or the built-in one that the model's name names.

    `extra["options"]` are the options of a built-in script. Raises `LmBadRequest` or `LmUnknownModel`.
    """
    plain = choice.extra.get("script")
    if plain is None:
        script = built_in_script(choice.model.removeprefix(PREFIX), choice.extra.get("options"))
    else:
        script = parse_script(plain)
    ledger = Ledger.named(script.ledger, site.ledger_dir) if script.ledger else None
    return ScriptedClient(script, choice.model, policy_of(choice.extra), ledger)
