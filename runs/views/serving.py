"""How logs and long texts go over the wire, to whoever may see them."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

BLOB_PAGE_BYTES = 64 * 1024
MAX_BLOB_PAGE_BYTES = 256 * 1024
GZIP_LEVEL = 1
"""The log repeats itself: the fastest level makes it eight times smaller and costs less than sending it."""


class BadNumber(ValueError):
    """A query parameter is not a number, or out of range."""


def number(request: HttpRequest, name: str, default: int, *, least: int = 0, most: int) -> int:
    """Raises `BadNumber`."""
    raw = request.GET.get(name, "")
    if not raw:
        return default
    # int() also takes signs, underscores and digits of other scripts.
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20 and least <= int(raw) <= most):
        raise BadNumber(f"{name} must be a whole number from {least} to {most}")
    return int(raw)


def log_response(request: HttpRequest, chunks: AsyncIterator[bytes], last: int) -> StreamingHttpResponse:
    """Events as NDJSON, compressed where the client takes that; `last` is the newest that there is."""
    response = StreamingHttpResponse(chunks, content_type="application/x-ndjson")
    response["X-Last-Seq"] = str(last)
    response["Cache-Control"] = "no-store"
    response["Vary"] = "Accept-Encoding, Cookie"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.streaming_content = _gzipped(chunks)
        response["Content-Encoding"] = "gzip"
    return response


def text_response(data: bytes, offset: int, size_bytes: int) -> HttpResponse:
    """A page of a text from `offset`, cut between characters; `X-Next-Offset` says where to go on."""
    end = offset + len(data)
    if end < size_bytes:
        data = _whole_characters(data)
        end = offset + len(data)
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    response["X-Size-Bytes"] = str(size_bytes)
    if end < size_bytes:
        response["X-Next-Offset"] = str(end)
    return response


async def _gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
    async for chunk in chunks:
        # Each chunk is flushed: the page draws what is there while the rest is on its way.
        yield packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def _whole_characters(data: bytes) -> bytes:
    """Without the beginning of a UTF-8 character that goes on in the next page."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if back < needed else data
        if byte & 0x80 == 0:
            return data
    return data
