"""Requests under the policy: web sessions that end, and pages that say what was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render, resolve_url

from rlmweb.teams.policies.enforcing import PolicyRefused
from rlmweb.teams.policies.facts import Act
from rlmweb.teams.policies.idling import ended, limits_of, note_act, note_time_out

REASONED = (Act.EXPORT, Act.DOWNLOAD)
"""Acts that can be tried again with a reason."""
FORM_FIELDS = ("name", "form", "leave_out")
"""What the form for the reason hands on of the request that was refused."""
FIELD_CHARS = 200


class PolicyMiddleware:
    """Behind the sessions, the messages and whoever notes the circumstances."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            limits = limits_of(request.user)
            why = ended(request.session, limits) if limits.any else ""
            if why:
                return self._end(request, why)
            if limits.any:
                note_act(request.session, is_act=is_act(request))
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Where a page does not say it in a form of its own."""
        return refused_page(request, error) if isinstance(error, PolicyRefused) else None

    def _end(self, request: HttpRequest, why: str) -> HttpResponseBase:
        note_time_out(request.user, why, "web")
        logout(request)
        if request.headers.get("HX-Request"):
            messages.warning(request, why)
            return HttpResponse(status=401, headers={"HX-Redirect": resolve_url("login")})
        if "text/html" in request.headers.get("Accept", ""):
            messages.warning(request, why)
            return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
        return JsonResponse({"type": "signed_out", "message": why, "hint": ""}, status=401)


def is_act(request: HttpRequest) -> bool:
    """Did a person ask for this? What a page fetches by itself, to be up to date, keeps nobody signed in."""
    if request.method not in ("GET", "HEAD"):
        return True
    if request.headers.get("X-Refresh"):
        return False
    by_script = request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
    return not by_script or "HX-Request" in request.headers


def refused_page(request: HttpRequest, error: PolicyRefused) -> HttpResponse:
    """403 as JSON for scripts, as a page for people; for exports it asks for the reason."""
    if "text/html" not in request.headers.get("Accept", "text/html"):
        plain = {"type": "policy_refused", "message": str(error), "hint": f"rule={error.decision.rule}"}
        return JsonResponse(plain, status=403)
    sent: Any = request.POST if request.method == "POST" else request.GET
    fields = [(name, value[:FIELD_CHARS]) for name in FORM_FIELDS for value in sent.getlist(name)]
    asks = error.act in REASONED and error.decision.rule == "export_reason"
    context = {"error": error, "asks_reason": asks, "fields": fields, "by_post": request.method == "POST"}
    return render(request, "teams/refused.html", context, status=403)
