"""People who are not signed in are asked to, instead of being told that there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import sync_and_async_middleware

from rlmweb.teams.permissions import lacks_second_factor


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


NEEDED_WITHOUT = ("/accounts/", "/logout/", "/join/", "/healthz", "/api/")
"""What is open to people whose second factor is missing. The API answers by itself that there is nothing."""


@sync_and_async_middleware
def ask_for_second_factor(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Where an organisation asks for a second factor, its roles do not count without one (`permissions`). Its people are
    brought to the page that sets one up, instead of to a site in which nothing is theirs."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            if _is_page(request) and await sync_to_async(lacks_second_factor)(await request.auser()):
                return await sync_to_async(_set_up)(request)
            response: HttpResponseBase = await get_response(request)
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        if _is_page(request) and lacks_second_factor(request.user):
            return _set_up(request)
        response: HttpResponseBase = get_response(request)
        return response

    return synchronous


def _is_page(request: HttpRequest) -> bool:
    away = (settings.STATIC_URL, *NEEDED_WITHOUT)
    return not request.path.startswith(away) and "text/html" in request.headers.get("Accept", "")


def _set_up(request: HttpRequest) -> HttpResponseBase:
    messages.warning(request, "Your organisation asks for a second factor. Set one up, then everything is there again.")
    return redirect("mfa_index")
