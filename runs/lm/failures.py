"""From what an endpoint answered to a typed error. The one place where statuses and vendors' codes get their
meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runs.lm.errors import (
    LmAuthFailed,
    LmBadRequest,
    LmContextTooLong,
    LmError,
    LmOutOfCredit,
    LmRateLimited,
    LmTimeout,
    LmUnavailable,
    LmUnknownModel,
)
from runs.lm.retry import retry_after_s
from runs.text import scrub

MOST_MESSAGE_CHARS = 500
_KEYLIKE = re.compile(r"\b(?:sk|key|pk|AIza|xai|gsk)[-_A-Za-z0-9]{12,}")

_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|prompt is too long|input is too long|too many (input )?tokens"
    r"|input token count|maximum.{0,20}tokens",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,80}(not found|not exist|unknown|not supported|not a valid)|not a valid model|no such model",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "request_too_large"})
_NO_CREDIT_CODES = frozenset(
    {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "insufficient_credits"}
)
_KIND_BY_CODE: Mapping[str, type[LmError]] = {
    "overloaded_error": LmUnavailable,
    "api_error": LmUnavailable,
    "timeout_error": LmTimeout,
    "rate_limit_error": LmRateLimited,
    "authentication_error": LmAuthFailed,
    "permission_error": LmAuthFailed,
    "not_found_error": LmUnknownModel,
    "model_not_found": LmUnknownModel,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What came back. `codes` are the vendor's own words (`code` and `type` of its error object)."""

    status: int
    message: str
    codes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


def typed_error(failure: Failure, *, key: str = "") -> LmError:
    """Codes speak first because vendors spread them over several statuses; then the status; the words come
    last."""
    error = _kind(failure)(shown(failure.message, key), status=failure.status, request_id=failure.request_id[:100])
    error.retry_after_s = retry_after_s(failure.headers)
    return error


def _kind(failure: Failure) -> type[LmError]:
    status = failure.status
    codes = set(failure.codes)
    if codes & _NO_CREDIT_CODES or status == 402:
        return LmOutOfCredit
    if codes & _TOO_LONG_CODES or status == 413:
        return LmContextTooLong
    if status == 401 or status == 403:
        return LmAuthFailed
    if status == 429:
        return LmRateLimited
    if status in (408, 504):
        return LmTimeout
    if status in (409, 425) or status >= 500:
        return LmUnavailable
    if status in (400, 422) and _TOO_LONG.search(failure.message):
        return LmContextTooLong
    if status == 404 or (status in (400, 422) and _NO_MODEL.search(failure.message)):
        return LmUnknownModel
    return next((_KIND_BY_CODE[code] for code in failure.codes if code in _KIND_BY_CODE), LmBadRequest)


def shown(message: str, key: str = "") -> str:
    """An endpoint's own words, fit to be stored and shown: bounded, harmless characters, no key in them."""
    text = scrub(message)
    if key:
        text = text.replace(key, "[key]")
    text = _KEYLIKE.sub("[key]", text)
    return text if len(text) <= MOST_MESSAGE_CHARS else f"{text[:MOST_MESSAGE_CHARS]}..."
