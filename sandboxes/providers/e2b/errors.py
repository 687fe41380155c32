"""The client's errors as ours.

The client has two families: of the API (`SandboxException` with a status, or without one) and of envd, the service in the
sandbox (`ConnectError`s, answers of `/files`). `AuthenticationException` and `ServiceBusyException` are in neither.
It keeps no header of an answer, so that neither a `Retry-After` nor a request's id is known here; it waits for the
former by itself, up to three times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from connectrpc.errors import ConnectError
from e2b import (
    AuthenticationException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    NotFoundException,
    RateLimitException,
    SandboxException,
    TimeoutException,
)
from e2b.envd.rpc import handle_rpc_exception
from e2b.exceptions import BuildException, SandboxNotRunningException, ServiceBusyException
from pyqwest import ReadError, StreamError, WriteError

from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    InvalidSpec,
    NotFound,
    NotReady,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
)
from sandboxes.providers.e2b.description import NAME

MAX_MESSAGE_CHARS = 500
FAILURES = (
    SandboxException,
    AuthenticationException,
    ServiceBusyException,
    BuildException,
    ConnectError,
    httpx.HTTPError,
    httpx.StreamError,
    ReadError,
    WriteError,
    StreamError,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
)
"""Beside the client's own and those of its transports: an answer that is no JSON, or not the object that it should be."""
_BY_CLASS: tuple[tuple[type[Exception], type[SandboxError]], ...] = (
    (AuthenticationException, AuthFailed),
    (SandboxNotRunningException, AlreadyTerminated),
    (NotFoundException, NotFound),
    (InvalidArgumentException, InvalidSpec),
    (NotEnoughSpaceException, QuotaExceeded),
    (TimeoutException, ProviderUnavailable),
    (ServiceBusyException, ProviderUnavailable),
)
"""More special classes first: the client's `SandboxNotRunningException` is a `TimeoutException`."""
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
_IN_WORDS = {"unauthenticated": 401, "permission_denied": 403}
_OTHER_REQUEST = ("mismatch", "different request", "another request")
"""In the message of a 409: a key came with a body that is not that of its first request. It never succeeds."""
_CONCURRENCY = "concurrent"
"""In the message of a 429: the account runs as many sandboxes as it may. Waiting alone does not help."""


def translate(error: Exception) -> SandboxError:
    """A failure of a call as an error of ours, with what the vendor said of it."""
    if isinstance(error, ConnectError):
        rpc, error = error, handle_rpc_exception(error)
        if type(error) is SandboxException:
            error.status_code = _IN_WORDS.get(rpc.code.value)
    message = str(error)[:MAX_MESSAGE_CHARS] or type(error).__name__
    native, status = type(error).__name__, _status(error, message)
    if isinstance(error, RateLimitException) and _CONCURRENCY not in message:
        limited = RateLimited(message, provider=NAME)
        limited.status, limited.native_type = 429, native
        return limited
    return _kind(error, status, message)(message, provider=NAME, native_type=native, status=status)


def _status(error: Exception, message: str) -> int | None:
    """Of the attribute, or of the text, which is where files and templates have it: `403: ...`."""
    status = getattr(error, "status_code", None)
    if status is None and isinstance(error, SandboxException | BuildException) and message[3:4] == ":":
        return int(message[:3]) if message[:3].isdecimal() else None
    return status


def _kind(error: Exception, status: int | None, message: str) -> type[SandboxError]:
    if isinstance(error, RateLimitException):
        return QuotaExceeded
    for theirs, ours in _BY_CLASS:
        if isinstance(error, theirs):
            return ours
    if status == 409 and any(words in message for words in _OTHER_REQUEST):
        return InvalidSpec
    if status is None and isinstance(error, BuildException):
        return InvalidSpec  # the build itself failed
    return _BY_STATUS.get(status or 0, ProviderUnavailable)


@contextmanager
def translated(*, placing: bool = False) -> Iterator[None]:
    """Raises `SandboxError`s only. `placing`: the call needs a free machine; that there is none is what a 503 says."""
    try:
        yield
    except SandboxError:
        raise
    except FAILURES as error:
        ours = translate(error)
        if placing and isinstance(error, ServiceBusyException):
            ours = CapacityUnavailable(str(ours), provider=NAME, native_type=type(error).__name__, status=503)
        raise ours from error
