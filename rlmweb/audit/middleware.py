"""Remembers address, browser and kind of sign-in of a request for the audit log."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from rlmweb.audit.circumstances import MAX_USER_AGENT, Circumstances, current


class NoteCircumstances:
    """`REMOTE_ADDR` only: a header that the client writes is no evidence."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = current.set(
            Circumstances(
                request_id=uuid.uuid4().hex,
                ip=str(request.META.get("REMOTE_ADDR", ""))[:64],
                user_agent=str(request.META.get("HTTP_USER_AGENT", ""))[:MAX_USER_AGENT],
                auth_method="key" if request.META.get("HTTP_AUTHORIZATION") else "session",
            )
        )
        try:
            return self.get_response(request)
        finally:
            current.reset(token)
