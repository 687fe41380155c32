"""People who are not signed in are asked to, instead of being told that there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def ask_to_sign_in(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Access answers 404 for "not yours". For a browser without a session every 404 becomes the sign-in page: whether
    there is something behind the address is not told by that."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            response: HttpResponseBase = await get_response(request)
            if _is_page_not_found(request, response) and not (await request.auser()).is_authenticated:
                return _sign_in(request)
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = get_response(request)
        if _is_page_not_found(request, response) and not request.user.is_authenticated:
            return _sign_in(request)
        return response

    return synchronous


def _is_page_not_found(request: HttpRequest, response: HttpResponseBase) -> bool:
    return (
        response.status_code == 404
        and request.method == "GET"
        and "text/html" in request.headers.get("Accept", "")
        and not request.path.startswith(settings.STATIC_URL)
    )


def _sign_in(request: HttpRequest) -> HttpResponseBase:
    return redirect_to_login(request.get_full_path())
