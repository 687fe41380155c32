"""What the clients on top of a vendor's SDK share: mapping of errors, merging of parameters, text on its way
out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from runs.lm.base import LmRequest, ModelChoice, OnText, Sampling
from runs.lm.errors import LmBadRequest, LmError, LmMalformedReply, LmTimeout, LmUnavailable
from runs.lm.failures import Failure, shown, typed_error
from runs.text import scrub

ErrorMap = tuple[tuple[type[BaseException], Callable[[Any, str], LmError]], ...]
"""Most specific class first; the function gets the SDK's error and the key (to keep it out of messages)."""

OWN_FIELDS = frozenset({"retry", "script", "options", "temperature", "gbnf"})
"""Fields of `extra` that are for us and not for the endpoint: hints of a prompt profile are among them."""
FIXED_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "n", "system"})
"""Fields of a request that the engine and the books depend on."""


def translate(error: Exception, table: ErrorMap, key: str) -> LmError:
    """The typed error for what an SDK raised. Errors of ours that it wrapped come out again. Unknown ones are
    raised as they are."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LmError):
            return cause
        cause = cause.__cause__
    for kind, make in table:
        if isinstance(error, kind):
            return make(error, key)
    raise error


def from_status(error: Any, key: str) -> LmError:
    """For the `APIStatusError` of either SDK, and for errors that arrive inside a stream (status 200)."""
    body = error.body if isinstance(error.body, Mapping) else {}
    inner = body.get("error") if isinstance(body.get("error"), Mapping) else body
    assert isinstance(inner, Mapping)
    codes = tuple(str(inner[name]) for name in ("code", "type") if inner.get(name))
    message = str(inner.get("message") or error.message)
    failure = Failure(
        status=getattr(error, "status_code", 200),
        message=message,
        codes=codes,
        headers=error.response.headers if hasattr(error, "response") else {},
        request_id=getattr(error, "request_id", "") or "",
    )
    return typed_error(failure, key=key)


def malformed(error: Exception, key: str) -> LmError:
    return LmMalformedReply(f"The endpoint's reply could not be read: {shown(str(error), key)}")


HTTP_ERRORS: ErrorMap = (
    (httpx2.TimeoutException, lambda error, key: LmTimeout("The endpoint fell silent.")),
    (httpx2.HTTPError, lambda error, key: LmUnavailable(f"The connection to the endpoint broke: {error}")),
    # Of the parts of a reply that the SDKs read without looking: not JSON, JSON of another shape, or
    # nested without end.
    (ValueError, malformed),
    (TypeError, malformed),
    (AttributeError, malformed),
    (RecursionError, malformed),
)
"""For what reaches us while a reply is read, which the SDKs do not wrap."""


def merged(choice: ModelChoice, request: LmRequest) -> Sampling:
    """The request's sampling where it says something, else the choice's."""
    first, second = request.sampling, choice.sampling
    return Sampling(
        temperature=second.temperature if first.temperature is None else first.temperature,
        top_p=second.top_p if first.top_p is None else first.top_p,
        max_output_tokens=first.max_output_tokens or second.max_output_tokens,
        seed=second.seed if first.seed is None else first.seed,
        stop=first.stop or second.stop,
    )


def extra_fields(choice: ModelChoice, request: LmRequest) -> dict[str, object]:
    """Fields to add to the request as they are. Raises `LmBadRequest` on those that are not the caller's to
    set."""
    fields = {name: value for name, value in {**choice.extra, **request.extra}.items() if name not in OWN_FIELDS}
    taken = sorted(FIXED_FIELDS & fields.keys())
    if taken:
        raise LmBadRequest(f"The extra fields {', '.join(taken)} are set by the engine.")
    return fields


@dataclass
class TextSink:
    """Collects a streamed reply and passes it on. Only the first attempt is passed on: a listener that heard
    half a reply would otherwise hear it twice. The finished reply has the whole text either way."""

    on_text: OnText | None
    heard: bool = False

    def for_attempt(self) -> Callable[[str], None]:
        silent = self.heard

        def take(piece: str) -> None:
            if self.on_text is not None and piece and not silent:
                self.heard = True
                self.on_text(scrub(piece))

        return take


def count(value: object) -> int | None:
    """A token count of an endpoint; None for anything that is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
