"""Errors of the sandbox room.

    SandboxError
      AuthFailed  QuotaExceeded  RateLimited  InvalidSpec  Unsupported  NotFound  AlreadyTerminated
      NotReady  ExecTimeout  StreamLost  SnapshotFailed  SnapshotExpired  SnapshotIncompatible
      CapacityUnavailable  ProviderUnavailable
      ProtocolViolation      the runner, or code that took it over, broke the protocol

`retryable` says whether the same call may succeed later without a change by the caller. A failed *command* is not an
error: it is an `ExecResult` with a non-zero `exit_code`, and a cell that raised is a `finished` frame with an error.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox, not the code in it, failed."""

    retryable = False

    def __init__(
        self,
        message: str | None = None,
        *,
        provider: str = "",
        native_type: str = "",
        status: int | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.provider = provider
        self.native_type = native_type
        self.status = status
        self.request_id = request_id


class AuthFailed(SandboxError):
    """The provider refused the credentials."""


class QuotaExceeded(SandboxError):
    """The account at the provider has no quota left for this."""


class RateLimited(SandboxError):
    """The provider asks to slow down."""

    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, provider: str = "") -> None:
        super().__init__(message, provider=provider)
        self.retry_after_s = retry_after_s


class InvalidSpec(SandboxError):
    """The provider cannot supply what the spec asks for."""


class Unsupported(SandboxError):
    """The provider does not have this capability."""

    def __init__(self, capability: str, *, provider: str = "") -> None:
        super().__init__(f"{provider or 'this provider'} does not support {capability}", provider=provider)
        self.capability = capability


class NotFound(SandboxError):
    """There is no such sandbox, file or snapshot."""


class AlreadyTerminated(SandboxError):
    """The sandbox has ended."""


class NotReady(SandboxError):
    """The sandbox is still starting."""

    retryable = True


class ExecTimeout(SandboxError):
    """A command ran past its deadline and was killed with its process tree."""


class StreamLost(SandboxError):
    """The channel to the runner broke; `resumable` says whether `reattach` may bring it back."""

    retryable = True

    def __init__(self, message: str | None = None, *, resumable: bool = True, provider: str = "") -> None:
        super().__init__(message, provider=provider)
        self.resumable = resumable


class SnapshotFailed(SandboxError):
    """The snapshot was not taken."""

    retryable = True


class SnapshotExpired(SandboxError):
    """The snapshot is no longer kept."""


class SnapshotIncompatible(SandboxError):
    """The snapshot cannot be restored under this spec (region, class or generation)."""


class CapacityUnavailable(SandboxError):
    """The provider has no machine free for this spec now."""

    retryable = True


class ProviderUnavailable(SandboxError):
    """The provider did not answer, or answered with an error of its own."""

    retryable = True


class ProtocolViolation(SandboxError):
    """The other end of the channel sent something the runner protocol does not allow."""
