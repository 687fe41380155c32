"""The real SDKs against a real HTTP server that misbehaves: every fault is one typed error, everything else a
reply."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runs.lm.base import Api, LmReply, LmRequest, Message, ModelChoice, Sampling
from runs.lm.errors import (
    LmAuthFailed,
    LmBadRequest,
    LmContextTooLong,
    LmError,
    LmMalformedReply,
    LmOutOfCredit,
    LmRateLimited,
    LmRefusedAddress,
    LmTimeout,
    LmUnavailable,
    LmUnknownModel,
)
from runs.lm.registry import builder
from runs.lm.site import Site
from tests.runs.lm.faulty_server import FaultyServer

APIS: tuple[Api, ...] = ("openai", "anthropic", "gemini")
QUICK = {"max_attempts": 3, "first_delay_s": 0.001, "attempt_timeout_s": 20, "deadline_s": 60}
KEY = "sk-test-0123456789abcdef"
CONVERSATION = (Message("system", "Be brief."), Message("user", "What is the answer?"))


def choice_for(api: Api, server: FaultyServer, mode: str, **extra: object) -> ModelChoice:
    suffix = "" if api == "anthropic" else "/v1"
    return ModelChoice(api, "m-1", server.url(mode, suffix), extra={"retry": QUICK, **extra})


def ask(
    choice: ModelChoice,
    server: FaultyServer,
    *,
    stream: bool = False,
    pieces: list[str] | None = None,
    **request: Any,
) -> LmReply:
    async def go() -> LmReply:
        client = builder(choice.api)(choice, KEY, Site(allowed_hosts=(f"127.0.0.1:{server.port}",)))
        try:
            listener = (pieces if pieces is not None else []).append if stream else None
            return await client.complete(LmRequest(CONVERSATION, **request), listener)
        finally:
            await client.aclose()

    return asyncio.run(go())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_a_good_endpoint_gives_text_usage_and_model(server: FaultyServer, api: Api, stream: bool) -> None:
    pieces: list[str] = []
    reply = ask(choice_for(api, server, "ok"), server, stream=stream, pieces=pieces)
    assert (reply.text, reply.finish_reason, reply.model, reply.attempts) == (
        "The answer is 42.",
        "stop",
        "m-1",
        1,
    )
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
    assert "".join(pieces) == (reply.text if stream else "")
    assert len(pieces) == (4 if stream else 0)


FAULTS: list[tuple[str, type[LmError]]] = [
    ("400", LmBadRequest),
    ("401", LmAuthFailed),
    ("402", LmOutOfCredit),
    ("403", LmAuthFailed),
    ("404", LmUnknownModel),
    ("no-model", LmUnknownModel),
    ("413", LmContextTooLong),
    ("context", LmContextTooLong),
    ("context-words", LmContextTooLong),
    ("429", LmRateLimited),
    ("quota", LmOutOfCredit),
    ("500", LmUnavailable),
    ("503", LmUnavailable),
    ("504", LmTimeout),
    ("529", LmUnavailable),
    ("redirect", LmRefusedAddress),
    ("malformed", LmMalformedReply),
    ("html", LmMalformedReply),
    ("null", LmMalformedReply),
    ("empty", LmMalformedReply),
    ("number", LmMalformedReply),
    ("reset", LmUnavailable),
    ("cut-body", LmUnavailable),
    ("gzip", LmMalformedReply),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize(("mode", "error"), FAULTS)
def test_each_fault_is_its_typed_error(
    server: FaultyServer, api: Api, mode: str, error: type[LmError], stream: bool
) -> None:
    before = server.counts[mode]
    with pytest.raises(LmError) as caught:
        ask(choice_for(api, server, mode), server, stream=stream)
    assert type(caught.value) in ({error, LmMalformedReply} if mode == "cut-body" else {error})
    assert KEY not in str(caught.value)
    expected = 3 if caught.value.retryable else 1
    assert caught.value.attempts == expected
    assert server.counts[mode] - before == expected, "the SDK must not retry by itself"


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("mode", "error"),
    [("cut-stream", LmMalformedReply), ("bad-stream", LmMalformedReply), ("stream-error", LmUnavailable)],
)
def test_a_broken_stream_is_an_error_and_its_text_is_heard_once(
    server: FaultyServer, api: Api, mode: str, error: type[LmError]
) -> None:
    pieces: list[str] = []
    with pytest.raises(LmError) as caught:
        ask(choice_for(api, server, mode), server, stream=True, pieces=pieces)
    assert type(caught.value) is error
    assert pieces == ["The ", "answer "]


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("mode", ["500-then-ok", "429-then-ok", "reset-then-ok", "cut-stream-then-ok"])
def test_a_passing_fault_ends_in_the_whole_reply(server: FaultyServer, api: Api, mode: str) -> None:
    server.counts.pop(mode, None)
    reply = ask(choice_for(api, server, mode), server, stream=True)
    assert (reply.text, reply.attempts) == ("The answer is 42.", 3)


@pytest.mark.parametrize("mode", ["hang", "hang-in-stream"])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_silent_endpoint_is_a_timeout_and_the_connection_is_closed(server: FaultyServer, api: Api, mode: str) -> None:
    server.closed_early.clear()
    retry = {"attempt_timeout_s": 0.3, "max_attempts": 1}
    with pytest.raises(LmTimeout):
        ask(choice_for(api, server, mode, retry=retry), server, stream=True)
    assert server.closed_early.wait(10)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_cancelling_a_call_hangs_up(server: FaultyServer, api: Api) -> None:
    server.closed_early.clear()
    choice = choice_for(api, server, "hang-in-stream")

    async def go() -> None:
        client = builder(api)(choice, KEY, Site(allowed_hosts=(f"127.0.0.1:{server.port}",)))
        heard = asyncio.Event()
        call = asyncio.create_task(client.complete(LmRequest(CONVERSATION), lambda piece: heard.set()))
        await asyncio.wait_for(heard.wait(), 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.closed_early.wait, 10)
        await client.aclose()

    asyncio.run(go())


def test_an_endless_reply_is_cut_off(server: FaultyServer) -> None:
    retry = {**QUICK, "max_attempts": 1}
    with pytest.raises(LmMalformedReply, match="longer than any reply"):
        ask(choice_for("openai", server, "endless", retry=retry), server)


def test_a_far_retry_after_is_not_waited_for(server: FaultyServer) -> None:
    with pytest.raises(LmRateLimited) as caught:
        ask(choice_for("openai", server, "429-later"), server)
    assert (caught.value.attempts, caught.value.retry_after_s) == (1, 3600)


def test_a_dead_endpoint_is_unavailable() -> None:
    with pytest.raises(LmUnavailable, match="No connection"):
        ask(
            ModelChoice("openai", "m", "http://127.0.0.1:1/v1", extra={"retry": {"max_attempts": 1}}),
            FaultyServer(port=1),
        )


def test_prices_and_cached_tokens_that_the_endpoint_reports_are_kept(server: FaultyServer) -> None:
    for stream in (False, True):
        usage = ask(choice_for("openai", server, "priced"), server, stream=stream).usage
        assert (usage.reported_cost_usd, usage.cached_input_tokens) == (0.00125, 4)


def test_nonsense_counts_and_prices_count_as_unknown(server: FaultyServer) -> None:
    usage = ask(choice_for("openai", server, "odd-usage"), server).usage
    assert (usage.input_tokens, usage.output_tokens, usage.reported_cost_usd) == (None, None, None)


def test_hidden_thought_of_gemini_counts_as_output(server: FaultyServer) -> None:
    assert ask(choice_for("gemini", server, "hidden-thought"), server).usage.output_tokens == 107
    assert ask(choice_for("openai", server, "hidden-thought"), server).usage.output_tokens == 7


def test_text_that_cannot_be_stored_is_replaced(server: FaultyServer) -> None:
    assert ask(choice_for("openai", server, "hostile-text"), server).text == "\ufffd and \u2400"


def test_parameters_reach_the_endpoint(server: FaultyServer) -> None:
    choice = choice_for("openai", server, "ok", grammar='root ::= "x"')
    ask(choice, server, sampling=Sampling(temperature=0.5, max_output_tokens=9, seed=3, stop=("END",)))
    body = server.requests[-1].body
    assert (body["temperature"], body["max_tokens"], body["seed"], body["stop"]) == (0.5, 9, 3, ["END"])
    assert body["grammar"] == 'root ::= "x"'
    assert "retry" not in body


def test_system_prompt_and_caching_reach_anthropic(server: FaultyServer) -> None:
    reply = ask(choice_for("anthropic", server, "ok"), server, kind="turn")
    body = server.requests[-1].body
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": "What is the answer?"}]
    assert body["cache_control"] == {"type": "ephemeral"}
    assert (reply.usage.cached_input_tokens, reply.usage.cache_write_tokens) == (6, 2)
    ask(choice_for("anthropic", server, "ok"), server, kind="leaf")
    assert "cache_control" not in server.requests[-1].body


@pytest.mark.parametrize("field", ["messages", "model", "stream", "n"])
def test_fields_of_the_engine_cannot_be_overridden(server: FaultyServer, field: str) -> None:
    with pytest.raises(LmBadRequest, match="set by the engine"):
        ask(choice_for("openai", server, "ok", **{field: 1}), server)


@pytest.mark.parametrize("api", APIS)
def test_only_the_teams_key_leaves_and_nothing_of_the_environment(
    server: FaultyServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
    ):
        monkeypatch.setenv(name, "secret-of-the-host")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "x-leak: secret-of-the-host")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    ask(choice_for(api, server, "ok"), server)
    headers = server.requests[-1].headers
    assert "secret-of-the-host" not in str(headers)
    assert KEY in headers.get("authorization", "") + headers.get("x-api-key", "")
    assert not any(name.startswith("x-stainless") for name in headers)
