"""The client's errors as ours.

The client wraps most failures in `DaytonaError`s; the generated API client below it and the two HTTP libraries that
file transfers use raise their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
from daytona import (
    DaytonaError,
    DaytonaGoneError,
    DaytonaProcessExecutionTimeoutError,
    DaytonaQueueTimeoutError,
    DaytonaSpotEvictedError,
    DaytonaValidationError,
)
from daytona_api_client_async.exceptions import ApiException, OpenApiException

from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    NotReady,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
)
from sandboxes.providers.daytona.description import NAME

MAX_MESSAGE_CHARS = 500
FAILURES = (
    DaytonaError,
    OpenApiException,
    aiohttp.ClientError,
    httpx.HTTPError,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
)
"""Beside the client's own and those of its transports: an answer that is no JSON, or not the object that it should be."""
_BY_STATUS: dict[int, type[SandboxError]] = {
    400: InvalidSpec,
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
    409: NotReady,
    410: AlreadyTerminated,
    413: InvalidSpec,
    422: InvalidSpec,
}
"""409: the sandbox is between two states, or a name is taken (which `create` looks at itself)."""
_BY_CLASS: tuple[tuple[type[DaytonaError], type[SandboxError]], ...] = (
    (DaytonaQueueTimeoutError, CapacityUnavailable),
    (DaytonaSpotEvictedError, CapacityUnavailable),
    (DaytonaProcessExecutionTimeoutError, ExecTimeout),
    (DaytonaGoneError, AlreadyTerminated),
)
_CAPACITY = ("no available runner", "no runner", "no capacity", "insufficient capacity")
_QUOTA = ("limit exceeded", "quota", "maximum allowed", "limit reached")
_OF_ONE = "per sandbox"
"""In a message about a limit: smaller will do, so that it is the spec and not the account."""


def translate(error: Exception) -> SandboxError:
    """A failure of a call as an error of ours, with what the vendor said of it."""
    status, message, headers = _said(error)
    native = type(error).__name__
    if status == 429:
        limited = RateLimited(message, retry_after_s=_seconds(headers.get("retry-after")), provider=NAME)
        limited.status, limited.native_type = status, native
        return limited
    kind = _kind(error, status, message.lower())
    request_id = headers.get("x-request-id", "")
    return kind(message, provider=NAME, native_type=native, status=status, request_id=request_id)


def _kind(error: Exception, status: int | None, message: str) -> type[SandboxError]:
    for theirs, ours in _BY_CLASS:
        if isinstance(error, theirs):
            return ours
    if any(words in message for words in _CAPACITY):
        return CapacityUnavailable
    if status in (400, 402, 403, 422) and any(words in message for words in _QUOTA) and _OF_ONE not in message:
        return QuotaExceeded
    if status is None and isinstance(error, DaytonaValidationError):
        return InvalidSpec  # the client itself refused what it was given
    return _BY_STATUS.get(status or 0, ProviderUnavailable)


def _said(error: Exception) -> tuple[int | None, str, Mapping[str, str]]:
    """Status, message and headers, the headers' names in small letters."""
    status: int | None = None
    message = f"{type(error).__name__}: {error}"
    headers: Mapping[str, Any] = {}
    if isinstance(error, DaytonaError):
        status, message, headers = error.status_code, error.message, error.headers
    elif isinstance(error, ApiException):
        status, headers = error.status, error.headers or {}
        message = _body_message(error.body) or f"the API answered {status}"
    elif isinstance(error, aiohttp.ClientResponseError):
        status, headers = error.status, error.headers or {}
        message = f"the toolbox answered {status}: {error.message}"
    elif isinstance(error, httpx.HTTPStatusError):
        status, headers = error.response.status_code, error.response.headers
    small = {str(name).lower(): str(value) for name, value in headers.items()}
    return status, message[:MAX_MESSAGE_CHARS], small


def _body_message(body: Any) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(body or "")


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


@contextmanager
def translated() -> Iterator[None]:
    """Raises `SandboxError`s only."""
    try:
        yield
    except SandboxError:
        raise
    except FAILURES as error:
        raise translate(error) from error
