"""The run page of a session, and what it loads: the event log and the pages of long texts."""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncIterator
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runs.access import may, session_for
from runs.blobs import BlobError, BlobMissing, BlobStoreUnavailable, blob_store
from runs.events.read import PAGE_EVENTS, last_seq, read_lines
from runs.models import Blob, BlobUse, Session
from runs.replay.origin import origin_of
from runs.stream.database import in_thread

logger = logging.getLogger(__name__)

BLOB_PAGE_BYTES = 64 * 1024
MAX_BLOB_PAGE_BYTES = 256 * 1024
GZIP_LEVEL = 1
"""The log repeats itself: the fastest level makes it eight times smaller and costs less than sending it."""


class BadNumber(ValueError):
    """A query parameter is not a number, or out of range."""


@never_cache
@login_required
@require_safe
def session(request: HttpRequest, uuid: UUID) -> HttpResponse:
    shown = session_for(request.user, uuid)
    context = {
        "session": shown,
        "last_seq": last_seq(shown.pk),
        "may_stop": may(request.user, shown, "stop"),
        "may_pin": may(request.user, shown, "pin"),
        "may_delete": may(request.user, shown, "delete"),
        "origin": origin_of(shown.origin),
        "has_rollouts": shown.rollouts.exists(),
        "has_forks": shown.forks.filter(hidden=False).exists(),
    }
    return render(request, "runs/session.html", context)


@require_safe
async def session_events(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """The log as NDJSON: events past `after`, at most `limit`, up to the newest at the start (`X-Last-Seq`)."""
    try:
        after = _number(request, "after", 0, most=2**53)
        limit = _number(request, "limit", 2**53, most=2**53)
    except BadNumber as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    found, last = await in_thread(_session_and_last, request, uuid)
    chunks = _lines(found.pk, after, min(last, after + limit))
    response = StreamingHttpResponse(chunks, content_type="application/x-ndjson")
    response["X-Last-Seq"] = str(last)
    response["Cache-Control"] = "no-store"
    response["Vary"] = "Accept-Encoding, Cookie"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.streaming_content = _gzipped(chunks)
        response["Content-Encoding"] = "gzip"
    if "download" in request.GET:
        response["Content-Disposition"] = f'attachment; filename="session-{found.uuid}.jsonl"'
    return response


@require_safe
def session_blob(request: HttpRequest, uuid: UUID, sha256: str) -> HttpResponse:
    """`length` bytes of a long text from `offset`, cut between characters; `X-Next-Offset` says where to go on."""
    try:
        offset = _number(request, "offset", 0, most=2**62)
        length = _number(request, "length", BLOB_PAGE_BYTES, least=4, most=MAX_BLOB_PAGE_BYTES)
    except BadNumber as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    found = session_for(request.user, uuid)
    blob = Blob.objects.filter(sha256=sha256).first()
    if blob is None or not BlobUse.objects.filter(session=found, sha256=sha256).exists():
        raise Http404
    try:
        data = blob_store().slice(sha256, offset, length)
    except BlobMissing:
        raise Http404 from None
    except BlobError as error:
        logger.warning("a text cannot be shown: %s", error)  # it names addresses, so the page does not say it
        away = isinstance(error, BlobStoreUnavailable)
        said = "The store of texts cannot be reached now." if away else "This text is damaged in the store."
        return HttpResponse(said, status=503 if away else 500, content_type="text/plain")
    end = offset + len(data)
    if end < blob.size_bytes:
        data = _whole_characters(data)
        end = offset + len(data)
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    response["X-Size-Bytes"] = str(blob.size_bytes)
    response["Cache-Control"] = "private, max-age=3600, immutable"
    if end < blob.size_bytes:
        response["X-Next-Offset"] = str(end)
    return response


def _session_and_last(request: HttpRequest, uuid: UUID) -> tuple[Session, int]:
    found = session_for(request.user, uuid)
    return found, last_seq(found.pk)


async def _lines(session_pk: int, after: int, upto: int) -> AsyncIterator[bytes]:
    while after < upto:
        lines = await in_thread(read_lines, session_pk, after, upto=upto, limit=PAGE_EVENTS)
        if not lines:
            return
        after = lines[-1].seq
        yield "".join(f"{line.text}\n" for line in lines).encode()


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


def _number(request: HttpRequest, name: str, default: int, *, least: int = 0, most: int) -> int:
    raw = request.GET.get(name, "")
    if not raw:
        return default
    # int() also takes signs, underscores and digits of other scripts.
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20 and least <= int(raw) <= most):
        raise BadNumber(f"{name} must be a whole number from {least} to {most}")
    return int(raw)
