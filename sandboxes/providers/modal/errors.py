"""The errors of Modal's client (1.6.4, `modal.exception`) as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from modal import exception as native

from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
    SnapshotFailed,
)
from sandboxes.providers.modal.description import NAME

FAILURES = (native.Error, GRPCError, ProtocolError, StreamTerminatedError, DecodeError, OSError)
"""Beside the client's own those of its transport, which some calls let through, and an answer that is none."""
_KINDS: tuple[tuple[type[Exception], type[SandboxError]], ...] = (
    (native.AuthError, AuthFailed),
    (native.PermissionDeniedError, AuthFailed),
    (native.NotFoundError, NotFound),
    (native.SandboxFilesystemNotFoundError, NotFound),
    (native.SandboxTerminatedError, AlreadyTerminated),
    (native.SandboxTimeoutError, AlreadyTerminated),
    (native.ConflictError, AlreadyTerminated),
    (native.ExecTimeoutError, ExecTimeout),
    (native.SnapshotCreationError, SnapshotFailed),
    (native.SandboxFilesystemError, InvalidSpec),
    (native.AlreadyExistsError, InvalidSpec),
    (native.InvalidError, InvalidSpec),
)
"""First match wins, so a class stands before its bases."""
_CAPACITY = ("capacity", "no workers available")
_QUOTA = ("limit", "quota", "spend", "budget")


def translate(error: Exception) -> SandboxError:
    """Modal has one class for "slow down", "no quota" and "no machine": `ResourceExhaustedError`. Its text decides."""
    message, native_type = f"{error}"[:500] or type(error).__name__, type(error).__name__
    if isinstance(error, native.ResourceExhaustedError):
        text = message.lower()
        if any(word in text for word in _CAPACITY):
            return CapacityUnavailable(message, provider=NAME, native_type=native_type)
        if "rate" not in text and any(word in text for word in _QUOTA):
            return QuotaExceeded(message, provider=NAME, native_type=native_type)
        limited = RateLimited(message, provider=NAME)
        limited.native_type = native_type
        return limited
    kind = next((ours for theirs, ours in _KINDS if isinstance(error, theirs)), ProviderUnavailable)
    return kind(message, provider=NAME, native_type=native_type)


@contextmanager
def translated() -> Iterator[None]:
    """What the client raises inside leaves as a `SandboxError`."""
    try:
        yield
    except FAILURES as error:
        raise translate(error) from error
