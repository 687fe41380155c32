"""Retries with exponential back-off, shared by every client. The SDKs' own retries are switched off.

Only errors that say `retryable` are tried again. Retry-After of the endpoint is obeyed when it fits into the
deadline; otherwise the error is raised at once, because waiting would be in vain.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runs.lm.base import LmReply
from runs.lm.errors import LmBadRequest, LmError, LmTimeout

Attempt = Callable[[int], Awaitable[LmReply]]
"""One try; its argument counts from 1. Raises `LmError`."""

MOST_ATTEMPTS = 20
MOST_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempt_timeout_s` bounds one try, `deadline_s` all of them with the waiting between."""

    max_attempts: int = 6
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    attempt_timeout_s: float = 300.0
    deadline_s: float = 900.0

    def delay_s(self, attempt: int, draw: float) -> float:
        """Full jitter: anywhere from half to all of the doubled delay, so that parallel calls do not come
        back together."""
        ceiling = min(self.max_delay_s, self.first_delay_s * 2.0 ** (attempt - 1))
        return ceiling * (0.5 + draw / 2)


def policy_of(extra: Mapping[str, object]) -> RetryPolicy:
    """The policy with what `extra["retry"]` changes. Raises `LmBadRequest` on unknown or odd values."""
    changes = extra.get("retry") or {}
    if not isinstance(changes, Mapping):
        raise LmBadRequest(f"extra.retry is {changes!r}, not an object.")
    allowed = RetryPolicy.__dataclass_fields__
    for name, value in changes.items():
        if name not in allowed:
            raise LmBadRequest(f"extra.retry has no {name!r}; it has {', '.join(allowed)}.")
        least, most = (1, MOST_ATTEMPTS) if name == "max_attempts" else (0, MOST_SECONDS)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise LmBadRequest(f"extra.retry.{name} is {value!r}, outside {least} to {most:g}.")
    return replace(RetryPolicy(), **{**changes, **_whole(changes)})


def _whole(changes: Mapping[str, object]) -> dict[str, int]:
    attempts = changes.get("max_attempts")
    return {"max_attempts": int(attempts)} if isinstance(attempts, int | float) else {}


async def with_retries(
    attempt: Attempt,
    policy: RetryPolicy,
    *,
    draw: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> LmReply:
    """Try until a reply, an error that is not `retryable`, the last attempt or the deadline; the last error
    is raised."""
    give_up_at = clock() + policy.deadline_s
    for number in range(1, policy.max_attempts + 1):
        try:
            reply = await _bounded(attempt, number, min(policy.attempt_timeout_s, give_up_at - clock()))
        except LmError as error:
            error.attempts = number
            if not error.retryable or number == policy.max_attempts:
                raise
            delay_s = policy.delay_s(number, draw())
            if error.retry_after_s is not None:
                delay_s = max(delay_s, error.retry_after_s)
            if clock() + delay_s >= give_up_at:
                raise
            await sleep(delay_s)
        else:
            return reply if number == 1 else replace(reply, attempts=number)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _bounded(attempt: Attempt, number: int, timeout_s: float) -> LmReply:
    try:
        async with asyncio.timeout(timeout_s):
            return await attempt(number)
    except TimeoutError as error:
        raise LmTimeout(f"The model did not answer within {round(timeout_s, 1):g} s.") from error


def retry_after_s(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait from `retry-after-ms` or `Retry-After` (seconds or an HTTP date); None where there is
    neither."""
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return max(0.0, millis / 1000)
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is not None:
        return max(0.0, seconds)
    if not raw:
        return None
    try:
        when = parsedate_to_datetime(raw)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromtimestamp(now(), UTC)).total_seconds())


def _number(raw: str | None) -> float | None:
    try:
        value = float(raw) if raw else None
    except ValueError:
        return None
    return value if value is not None and value == value and abs(value) != float("inf") else None
