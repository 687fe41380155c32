"""No request makes the web process hold more than `MAX_BODY_BYTES`, whoever sends it and wherever to.

Daphne takes the whole body in and queues all of it for the application before the first view, middleware or access
check runs: one anonymous request of a gigabyte cost a gigabyte of memory. It has no setting for that, so its request
class learns to refuse here. Files above the limit come in parts (`runs.uploads`).
"""

from __future__ import annotations

from typing import Any

MAX_BODY_BYTES = 65 * 2**20
"""A file of 64 MiB, and the form around it."""

BODY = b'{"type": "too_large", "message": "The request is too large.", "hint": "Send files in parts."}'
REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY)
)


def limit_bodies(request_class: Any, max_bytes: int = MAX_BODY_BYTES) -> None:
    """Teach a request class of Twisted's HTTP server. Called once, before the server listens."""
    got_length, take_chunk = request_class.gotLength, request_class.handleContentChunk

    def refuse(request: Any) -> None:
        if not getattr(request, "body_refused", False):
            request.body_refused = True
            request.channel.transport.write(REFUSAL)
            request.channel.loseConnection()

    def bounded_length(request: Any, length: int | None) -> None:
        """`length` is None for a chunked body: that one is counted as it comes."""
        request.body_bytes = 0
        too_long = length is not None and length > max_bytes
        got_length(request, 0 if too_long else length)
        if too_long:
            refuse(request)

    def bounded_chunk(request: Any, data: bytes) -> None:
        request.body_bytes += len(data)
        if request.body_bytes > max_bytes:
            refuse(request)
        # What still arrives until the connection is closed is dropped.
        if not getattr(request, "body_refused", False):
            take_chunk(request, data)

    request_class.gotLength = bounded_length
    request_class.handleContentChunk = bounded_chunk
