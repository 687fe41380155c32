"""An act that a quota refuses answers 429 with the reason, whichever page it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware

from rlmweb.quotas.errors import QuotaExceeded


@sync_and_async_middleware
def show_refusals(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> Any:
            return await get_response(request)

        asynchronous.process_exception = _refused  # type: ignore[attr-defined]
        return asynchronous

    def synchronous(request: HttpRequest) -> Any:
        return get_response(request)

    synchronous.process_exception = _refused  # type: ignore[attr-defined]
    return synchronous


def _refused(request: HttpRequest, error: Exception) -> HttpResponse | None:
    if not isinstance(error, QuotaExceeded):
        return None
    if "text/html" in request.headers.get("Accept", "") and "HX-Request" not in request.headers:
        response = render(request, "quotas/refused.html", {"refusal": str(error)}, status=429)
    else:
        response = HttpResponse(str(error), status=429, content_type="text/plain; charset=utf-8")
    if error.resets_at is not None:
        response["Retry-After"] = str(max(1, round((error.resets_at - timezone.now()).total_seconds())))
    return response
