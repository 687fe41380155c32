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
    advice = ""
    """What a person can do about it: the endpoint's own words seldom say."""

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

    advice = "Check the key on the page Keys."


class LmBadRequest(LmError):
    """The endpoint refused the request."""


class LmContextTooLong(LmBadRequest):
    """The prompt is longer than the model's window."""

    advice = "Choose a model with a larger window, or give it less at once."


class LmOutOfCredit(LmError):
    """The account at the endpoint has no credit or quota left."""

    advice = "Add credit to the account there, or use another key."


class LmUnknownModel(LmError):
    """The endpoint does not know this model."""

    advice = "Check the model's name."


class LmRefusedAddress(LmError):
    """The base URL is not on the allow-list of this installation."""


class LmRateLimited(LmError):
    """The endpoint asks to slow down, and still did after the retries."""

    retryable = True
    advice = "Try again later, or make fewer calls at a time."

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.retry_after_s = retry_after_s


class LmUnavailable(LmError):
    """The endpoint is down, or answered with an error of its own."""

    retryable = True
    advice = "Check that it is running and that its address is right, or try again later."


class LmTimeout(LmError):
    """The endpoint did not answer in time."""

    retryable = True
    advice = "Try again later; a slow model can be given more time (extra.retry.attempt_timeout_s)."


class LmMalformedReply(LmError):
    """The endpoint answered with something that is not a reply."""

    retryable = True
    advice = "Check that the address is that of the chosen API; many end in /v1."
