"""The list of sessions, stopping one, and where a fresh sign-in goes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.teams.permissions import organisations_of
from runs.access import actor_of, session_for, sessions_of, teams_to_start_in
from runs.models import Node, Session
from runs.queries import MAX_RUNNING_ROWS, SessionFilter, filtered, page_of, verdict_of
from runs.services.sessions import stop_session

MAX_INTEGER = 2**63 - 1


@never_cache
@login_required
@require_GET
def session_list(request: HttpRequest) -> HttpResponse:
    return render(request, "runs/list.html", _list(request))


@never_cache
@login_required
@require_GET
def session_rows(request: HttpRequest) -> HttpResponse:
    """The part of the list that a page fetches again and again while sessions run."""
    return render(request, "runs/_sessions.html", _list(request))


@never_cache
@login_required
@require_GET
def first(request: HttpRequest) -> HttpResponse:
    """The running session, else the newest, else the form to start one."""
    sessions = sessions_of(request.user)
    newest = sessions.filter(status=Session.Status.RUNNING).order_by("-pk").first() or sessions.order_by("-pk").first()
    return redirect("runs:session_new") if newest is None else redirect("runs:session", uuid=newest.uuid)


@login_required
@require_POST
def session_stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Stop the session or, with `node`, one subtree of it."""
    session = session_for(request.user, uuid, "stop")
    number = _integer(request.POST.get("node", "0"))
    if number is None or not Node.objects.filter(session=session, number=number).exists():
        return HttpResponseBadRequest("There is no such node in this session.", content_type="text/plain")
    stop_session(session, actor=actor_of(request.user, "web"), node=number)
    if request.headers.get("HX-Request") or "application/json" in request.headers.get("Accept", ""):
        return HttpResponse(status=204)
    return redirect("runs:session", uuid=uuid)


def _list(request: HttpRequest) -> dict[str, Any]:
    by = SessionFilter(_status(request), request.GET.get("q", "").strip().replace("\x00", ""))
    before = _integer(request.GET.get("before", ""))
    found = filtered(sessions_of(request.user), by)
    over = found if by.status else found.exclude(status=Session.Status.RUNNING)
    running = [] if by.status or before is not None else _running(found)
    page = page_of(over, before)
    return {
        "by": by,
        "before": before,
        "statuses": Session.Status.choices,
        "running": _rows(running),
        "page": page,
        "rows": _rows(page.sessions),
        "live": before is None,
        "is_empty": not (by or before or running or page.sessions),
        "query": _query(by),
        "may_start": teams_to_start_in(request.user).exists(),
        "has_role": organisations_of(request.user).exists,  # called where nothing else is shown
    }


def _running(found: QuerySet[Session]) -> list[Session]:
    return list(found.filter(status=Session.Status.RUNNING)[:MAX_RUNNING_ROWS])


def _rows(sessions: list[Session]) -> list[dict[str, Any]]:
    return [{"session": session, "verdict": verdict_of(session), "config": _models(session)} for session in sessions]


def _models(session: Session) -> dict[str, str]:
    root = session.config.get("root", {})
    sub = session.config.get("sub") or root
    return {"root": root.get("model", ""), "sub": sub.get("model", "")}


def _status(request: HttpRequest) -> str:
    status = request.GET.get("status", "")
    return status if status in Session.Status.values else ""


def _query(by: SessionFilter) -> str:
    return urlencode({name: value for name, value in (("status", by.status), ("q", by.text)) if value})


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= MAX_INTEGER else None
