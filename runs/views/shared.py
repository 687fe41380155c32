"""The pages behind a link: minimal, never indexed, and for whoever holds the link nothing else of the site.

Wrong, expired, revoked and used-up are one answer, 404.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import wraps

from django.conf import settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
    HttpResponseNotFound,
)
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from runs.blobs import BlobError
from runs.events.read import PAGE_EVENTS, read_lines
from runs.models import Share
from runs.shares.attempts import attempts
from runs.shares.holding import hold, holds
from runs.shares.sharing import WITHOUT_ACCOUNT, count_view, live_share, may_open, token_fits
from runs.shares.shown import ShownSession
from runs.stream.database import in_thread
from runs.views.serving import BLOB_PAGE_BYTES, MAX_BLOB_PAGE_BYTES, BadNumber, log_response, number, text_response

HEADERS = {
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def quietly(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """With the headers of a link, errors included."""

    @wraps(view)
    def headed(request: HttpRequest, **address: str) -> HttpResponse:
        try:
            response = view(request, **address)
        except Http404:
            response = render(request, "shared/gone.html", status=404)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return headed


@quietly
@require_safe
def shared(request: HttpRequest, public_id: str) -> HttpResponse:
    """The session, or what it takes to open it. The same page asks for a token whether or not the link exists."""
    share = live_share(public_id)
    if share is None or share.audience in WITHOUT_ACCOUNT:
        if share is None or not holds(request.COOKIES, share):
            return render(request, "shared/open.html", {"public_id": public_id})
    elif not may_open(share, request.user) or not count_view(share, by=request.user.get_username()):
        raise Http404
    shown = ShownSession(share)
    events = reverse("runs:shared_events", args=[public_id])
    context = {
        "share": share,
        "last_seq": shown.last(),
        "events_url": events,
        "blobs_url": events.removesuffix("events.jsonl") + "blobs/",
        "socket": "" if share.upto_seq is not None else f"{reverse('runs:shared', args=[public_id])}live/",
    }
    return render(request, "shared/session.html", context)


@never_cache
@csrf_exempt  # it proves what it is sent and changes nothing of who the browser is
@quietly
@sensitive_post_parameters("token", "password")
@require_POST
def shared_open(request: HttpRequest, public_id: str) -> HttpResponse:
    """Exchange the token of the fragment for a cookie of this link's addresses."""
    if not attempts.allow(f"ip {request.META.get('REMOTE_ADDR', '')}", f"link {public_id[:64]}"):
        return HttpResponse("Too many attempts. Wait a minute.", status=429, content_type="text/plain")
    share = live_share(public_id)
    token, password = request.POST.get("token", "")[:200], request.POST.get("password", "")[:200]
    if share is None or not token_fits(share, token, password) or not count_view(share, by="link holder"):
        return HttpResponse("This link is wrong, over, or needs its password.", status=404, content_type="text/plain")
    response = HttpResponse(status=204)
    hold(response, share, secure=settings.SESSION_COOKIE_SECURE)
    return response


async def shared_events(request: HttpRequest, public_id: str) -> HttpResponseBase:
    """The events that the link shows, as NDJSON."""
    response = await _events(request, public_id)
    for name, value in HEADERS.items():
        response[name] = value
    return response


async def _events(request: HttpRequest, public_id: str) -> HttpResponseBase:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    try:
        after = number(request, "after", 0, most=2**53)
        shown, last = await in_thread(_shown_and_last, request, public_id)
    except BadNumber as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    except Http404:
        return HttpResponseNotFound("There is nothing here.", content_type="text/plain")
    return log_response(request, _lines(shown, after, last), last)


@quietly
@require_safe
def shared_blob(request: HttpRequest, public_id: str, sha256: str) -> HttpResponse:
    try:
        offset = number(request, "offset", 0, most=2**62)
        length = number(request, "length", BLOB_PAGE_BYTES, least=4, most=MAX_BLOB_PAGE_BYTES)
    except BadNumber as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    try:
        data = ShownSession(opened(request, public_id)).text(sha256)
    except BlobError:
        return HttpResponse("This text cannot be read now.", status=503, content_type="text/plain")
    if data is None:
        raise Http404
    return text_response(data[offset : offset + length], offset, len(data))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Nothing here is for search engines, links least of all."""
    return HttpResponse("User-agent: *\nDisallow: /\n", content_type="text/plain")


def opened(request: HttpRequest, public_id: str) -> Share:
    """The link, if this browser has opened it or its person may. Raises `Http404`."""
    share = live_share(public_id)
    if share is None or not (holds(request.COOKIES, share) or may_open(share, request.user)):
        raise Http404
    return share


def _shown_and_last(request: HttpRequest, public_id: str) -> tuple[ShownSession, int]:
    shown = ShownSession(opened(request, public_id))
    return shown, shown.last()


async def _lines(shown: ShownSession, after: int, upto: int) -> AsyncIterator[bytes]:
    while after < upto:
        lines = await in_thread(read_lines, shown.session.pk, after, upto=upto, limit=PAGE_EVENTS)
        if not lines:
            return
        after = lines[-1].seq
        yield "".join(f"{line}\n" for line in await in_thread(shown.lines, lines)).encode()
