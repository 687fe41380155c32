"""Faults of an HTTP front-end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tests.wire.faults import Faults, Operation


class Reset(Response):
    """The connection breaks without an answer."""

    async def __call__(
        self, scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]
    ) -> None:
        # An answer that is shorter than it says: the server closes the connection in the middle of it.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


async def disturbed(
    faults: Faults,
    operation: Operation,
    request: Request,
    carry_out: Callable[[], Awaitable[Response]],
    error: Callable[[int, str], Response],
) -> Response:
    """The answer to a request, or what the next fault makes of it."""
    fault = faults.take(operation)
    if fault is None:
        return await carry_out()
    if fault.kind == "status":
        answer = error(fault.status, fault.message)
        if fault.retry_after_s is not None:
            answer.headers["retry-after"] = f"{fault.retry_after_s:g}"
        return answer
    if fault.kind == "lose_reply":
        await carry_out()
        return Reset()
    if fault.kind == "hang":
        await asyncio.sleep(3600)
    if fault.kind == "malformed":
        return PlainTextResponse("<html>this is no answer</html>")
    return Reset()
