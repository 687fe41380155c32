"""Errors of language-model calls.

LmError
  LmAuthFailed  LmBadRequest  LmContextTooLong  LmOutOfCredit  LmRefusedAddress  LmUnknownModel
  LmRateLimited  LmUnavailable  LmTimeout  LmMalformedReply
"""

from __future__ import annotations


class LmError(Exception):
    """The language model did not answer."""

    retryable = False
    retry_after_s: float | None = None
    """How long the endpoint asks to wait, where it says so."""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int | None = None,
        attempts: int = 1,
        request_id: str = "",
    ) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.status = status
        self.attempts = attempts
        self.request_id = request_id


class LmAuthFailed(LmError):
    """The endpoint refused the key. Check the team's key for this API."""


class LmBadRequest(LmError):
    """The endpoint refused the request."""


class LmContextTooLong(LmBadRequest):
    """The prompt is longer than the model's window."""


class LmOutOfCredit(LmError):
    """The account at the endpoint has no credit or quota left."""


class LmUnknownModel(LmError):
    """The endpoint does not know this model."""


class LmRefusedAddress(LmError):
    """The base URL is not on the allow-list of this installation."""


class LmRateLimited(LmError):
    """The endpoint asks to slow down, and still did after the retries."""

    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.retry_after_s = retry_after_s


class LmUnavailable(LmError):
    """The endpoint is down, or answered with an error of its own."""

    retryable = True


class LmTimeout(LmError):
    """The endpoint did not answer in time."""

    retryable = True


class LmMalformedReply(LmError):
    """The endpoint answered with something that is not a reply."""

    retryable = True
