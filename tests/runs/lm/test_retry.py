"""Back-off, Retry-After, deadlines, and that every error class of the SDKs has a meaning here."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable

import anthropic
import httpx2
import openai
import pytest

from runs.lm import anthropic as anthropic_client
from runs.lm import openai_compatible
from runs.lm.base import LmReply, Usage
from runs.lm.errors import LmBadRequest, LmError, LmRateLimited, LmUnavailable
from runs.lm.retry import RetryPolicy, policy_of, retry_after_s, with_retries
from runs.lm.sdk import ErrorMap, translate

DONE = LmReply("done", Usage())


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def failing(*errors: LmError) -> Callable[[int], Awaitable[LmReply]]:
    left = list(errors)

    async def attempt(number: int) -> LmReply:
        if left:
            raise left.pop(0)
        return DONE

    return attempt


def run(attempt: Callable[[int], Awaitable[LmReply]], policy: RetryPolicy, clock: Clock, draw: float = 1.0) -> LmReply:
    return asyncio.run(with_retries(attempt, policy, draw=lambda: draw, sleep=clock.sleep, clock=lambda: clock.now))


def test_delays_double_up_to_the_cap() -> None:
    clock = Clock()
    reply = run(failing(*[LmUnavailable()] * 5), RetryPolicy(max_delay_s=3), clock)
    assert clock.waits == [0.5, 1, 2, 3, 3]
    assert reply.attempts == 6


def test_jitter_takes_off_at_most_half() -> None:
    clock = Clock()
    run(failing(LmUnavailable(), LmUnavailable()), RetryPolicy(), clock, draw=0.0)
    assert clock.waits == [0.25, 0.5]


def test_retry_after_lengthens_the_wait_and_never_shortens_it() -> None:
    clock = Clock()
    run(failing(LmRateLimited(retry_after_s=7), LmRateLimited(retry_after_s=0)), RetryPolicy(), clock)
    assert clock.waits == [7, 1]


def test_nobody_waits_past_the_deadline() -> None:
    clock = Clock()
    with pytest.raises(LmRateLimited):
        run(failing(LmRateLimited(retry_after_s=100)), RetryPolicy(deadline_s=99), clock)
    assert clock.waits == []


def test_an_error_that_will_not_pass_is_raised_at_once() -> None:
    clock = Clock()
    with pytest.raises(LmBadRequest) as caught:
        run(failing(LmBadRequest()), RetryPolicy(), clock)
    assert (clock.waits, caught.value.attempts) == ([], 1)


def test_the_last_error_is_the_one_raised() -> None:
    clock = Clock()
    with pytest.raises(LmUnavailable, match="second"):
        run(failing(LmUnavailable("first"), LmUnavailable("second")), RetryPolicy(max_attempts=2), clock)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=lambda: 100.0) == seconds


@pytest.mark.parametrize(
    "changes",
    [{"max_attempts": 0}, {"max_attempts": 1000}, {"deadline_s": "long"}, {"patience": 1}, {"deadline_s": True}, 7],
)
def test_odd_policies_are_refused(changes: object) -> None:
    with pytest.raises(LmBadRequest, match=r"extra\.retry"):
        policy_of({"retry": changes})


def test_a_policy_may_be_changed_in_part() -> None:
    assert policy_of({"retry": {"max_attempts": 2.0}}) == RetryPolicy(max_attempts=2)


def sdk_errors(module: types.ModuleType, root: type[Exception]) -> list[type[Exception]]:
    members = inspect.getmembers(module, inspect.isclass)
    return [kind for name, kind in members if issubclass(kind, root) and not name.startswith("_")]


@pytest.mark.parametrize(
    ("module", "root", "table", "not_of_a_call"),
    [
        (
            openai,
            openai.OpenAIError,
            openai_compatible.ERRORS,
            # Features that we do not use: parsing helpers, workload identity, realtime sockets.
            {
                "OpenAIError",
                "ContentFilterFinishReasonError",
                "LengthFinishReasonError",
                "WebSocketConnectionClosedError",
                "WebSocketQueueFullError",
            },
        ),
        (
            anthropic,
            anthropic.AnthropicError,
            anthropic_client.ERRORS,
            # Credentials from files, and middleware that asks for a retry.
            {"AnthropicError", "CredentialsError", "IdentityTokenFileError", "RetryableError", "WorkloadIdentityError"},
        ),
    ],
)
def test_every_error_class_of_an_sdk_is_mapped_on_purpose(
    module: types.ModuleType, root: type[Exception], table: ErrorMap, not_of_a_call: set[str]
) -> None:
    """A class that only the catch-all at the root takes came with a new version: decide what it means."""
    named = tuple(kind for kind, _ in table if kind is not root)
    assert {kind.__name__ for kind in sdk_errors(module, root) if not issubclass(kind, named)} == not_of_a_call


@pytest.mark.parametrize("table", [openai_compatible.ERRORS, anthropic_client.ERRORS])
def test_tables_name_the_specific_class_before_the_general_one(table: ErrorMap) -> None:
    kinds = [kind for kind, _ in table]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[place + 1 :])


def test_an_error_that_no_table_knows_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        translate(ZeroDivisionError(), openai_compatible.ERRORS, "")


def test_an_error_of_ours_inside_an_sdk_error_comes_out() -> None:
    inner = LmBadRequest("ours")
    outer = openai.APIConnectionError(request=httpx2.Request("POST", "http://x/"))
    outer.__cause__ = inner
    assert translate(outer, openai_compatible.ERRORS, "") is inner
