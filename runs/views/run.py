"""The run page of a session, and what it loads: the event log and the pages of long texts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rlmweb.teams.permissions import Permission, allows
from runs.access import may, session_for
from runs.blobs import BlobError, BlobMissing, BlobStoreUnavailable, blob_store
from runs.events.read import PAGE_EVENTS, last_seq, read_lines
from runs.models import Blob, BlobUse, Session
from runs.replay.origin import origin_of
from runs.stream.database import in_thread
from runs.views.serving import BLOB_PAGE_BYTES, MAX_BLOB_PAGE_BYTES, BadNumber, log_response, number, text_response

logger = logging.getLogger(__name__)


@never_cache
@login_required
@require_safe
def session(request: HttpRequest, uuid: UUID) -> HttpResponse:
    shown = session_for(request.user, uuid)
    context = {
        "session": shown,
        "last_seq": last_seq(shown.pk),
        "may_share": allows(request.user, Permission.SHARE, shown.team),
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
        after = number(request, "after", 0, most=2**53)
        limit = number(request, "limit", 2**53, most=2**53)
    except BadNumber as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    found, last = await in_thread(_session_and_last, request, uuid)
    chunks = _lines(found.pk, after, min(last, after + limit))
    response = log_response(request, chunks, last)
    if "download" in request.GET:
        response["Content-Disposition"] = f'attachment; filename="session-{found.uuid}.jsonl"'
    return response


@require_safe
def session_blob(request: HttpRequest, uuid: UUID, sha256: str) -> HttpResponse:
    """`length` bytes of a long text from `offset`, cut between characters; `X-Next-Offset` says where to go on."""
    try:
        offset = number(request, "offset", 0, most=2**62)
        length = number(request, "length", BLOB_PAGE_BYTES, least=4, most=MAX_BLOB_PAGE_BYTES)
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
    response = text_response(data, offset, blob.size_bytes)
    response["Cache-Control"] = "private, max-age=3600, immutable"
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
