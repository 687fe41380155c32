"""Notes who asks from where, and writes down what a request read or was refused.

Both are written when the view is over, so what it rolled back does not take a denial with it. A read that cannot be
written down is not answered.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from rlmweb.audit.circumstances import MAX_USER_AGENT, Circumstances, Touched, current
from rlmweb.audit.models import AuditEntry
from rlmweb.audit.reads import stage_read
from rlmweb.audit.record import record

SAFE = ("GET", "HEAD")
API_PREFIX = "/api/"
READS = {"session": "session.read", "context": "context.read"}
"""Kinds whose content is shown."""


def note_circumstances(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        about = _circumstances_of(request)
        token = current.set(about)
        try:
            response = get_response(request)
            for touched in dict.fromkeys(about.touched):
                _write(request, response, touched)
            return response
        finally:
            current.reset(token)

    return middleware


def _circumstances_of(request: HttpRequest) -> Circumstances:
    """`REMOTE_ADDR` only: a header that the client writes is no evidence."""
    return Circumstances(
        request_id=uuid.uuid4().hex,
        ip=str(request.META.get("REMOTE_ADDR", ""))[:64],
        user_agent=str(request.META.get("HTTP_USER_AGENT", ""))[:MAX_USER_AGENT],
        auth_method="key" if request.META.get("HTTP_AUTHORIZATION") else "session",
    )


def _write(request: HttpRequest, response: HttpResponseBase, touched: Touched) -> None:
    actor = _name(request)
    source = "api" if request.path.startswith(API_PREFIX) else "web"
    details = {"route": request.resolver_match.route if request.resolver_match else "", "method": request.method}
    if touched.denied:
        record(
            "access.deny",
            actor=actor,
            object_type=touched.object_type,
            object_id=touched.object_id,
            team_uuid=touched.team_uuid,
            source=source,
            outcome=AuditEntry.Outcome.DENIED,
            details=details,
        )
    elif touched.object_type in READS and request.method in SAFE and response.status_code < 400:
        stage_read(
            READS[touched.object_type],
            actor=actor,
            object_type=touched.object_type,
            object_id=touched.object_id,
            team_uuid=touched.team_uuid,
            source=source,
            details=details,
        )


def _name(request: HttpRequest) -> str:
    """Of the session's user, or of the token's as the API has found it."""
    user = getattr(request, "auth", None) or request.user
    return user.get_username() or "anonymous"
