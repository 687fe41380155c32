"""The client's errors as ours. It raises one class for everything the API refuses, and httpx's for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from northflank.errors import ApiCallError, ConfigurationError, NorthflankError
from websockets.exceptions import WebSocketException

from sandboxes.errors import (
    AuthFailed,
    CapacityUnavailable,
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
)
from sandboxes.providers.northflank.description import NAME

FAILURES = (
    NorthflankError,
    httpx.HTTPError,
    WebSocketException,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
)
"""Beside the client's own and those of its transports: an answer that is no JSON, or not the object that it should be."""
_CAPACITY = ("capacity", "no nodes available", "insufficient")


def translate(error: Exception) -> SandboxError:
    """`status` 0 of the client: the connection or the exec protocol failed, not the API."""
    if not isinstance(error, ApiCallError):
        other = AuthFailed if isinstance(error, ConfigurationError) else ProviderUnavailable
        return other(f"{type(error).__name__}: {error}"[:500], provider=NAME, native_type=type(error).__name__)
    message, status = f"{error.message or error}"[:500], int(error.status or 0)
    known: dict[int, type[SandboxError]] = {
        400: InvalidSpec,
        401: AuthFailed,
        402: QuotaExceeded,
        403: AuthFailed,
        404: NotFound,
        409: InvalidSpec,
        422: InvalidSpec,
    }
    if status == 429:
        limited = RateLimited(message, provider=NAME)
        limited.status, limited.native_type = status, type(error).__name__
        return limited
    if any(word in message.lower() for word in _CAPACITY):
        return CapacityUnavailable(message, provider=NAME, native_type=type(error).__name__, status=status or None)
    kind = known.get(status, ProviderUnavailable)
    return kind(
        message, provider=NAME, native_type=type(error).__name__, status=status or None, request_id=str(error.id or "")
    )


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except SandboxError:
        raise
    except FAILURES as error:
        raise translate(error) from error
