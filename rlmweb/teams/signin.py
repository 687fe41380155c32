"""Signing in to a single-user installation with the token that `manage.py up` printed, as Jupyter does.

Other people of the same machine can reach its ports; they cannot read the terminal. In a multi-user installation these
views do not exist (404) and Django's login page is what there is.

The session cookie outlives a restart of `up`; the token does not, so an address in a shell history opens nothing later.
"""

from __future__ import annotations

import hmac
from typing import Any

from allauth.account.views import password_reset
from django.conf import settings
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rlmweb.teams.services import ensure_local_owner

BACKEND = "django.contrib.auth.backends.ModelBackend"


def token_is_right(token: str) -> bool:
    """Compared in constant time. Never right when the installation has no token or has many users."""
    wanted = settings.OPEN_TOKEN
    given = token.encode("utf-8", "replace")
    return bool(settings.SINGLE_USER and wanted) and hmac.compare_digest(given, wanted.encode())


def user_of_token(token: str) -> Any | None:
    """The local owner, if the token is right."""
    return ensure_local_owner() if token_is_right(token) else None


@never_cache
@require_safe
def open_installation(request: HttpRequest, token: str) -> HttpResponse:
    """Sign the local owner in and go to the sessions. A wrong token gets the page that says where to find it."""
    if not settings.SINGLE_USER:
        raise Http404
    user = user_of_token(token)
    if user is None:
        return render(request, "teams/open.html", {"wrong": True}, status=403)
    login(request, user, backend=BACKEND)
    return redirect("runs:first")


@never_cache
@require_safe
def how_to_open(request: HttpRequest) -> HttpResponse:
    """Where a single-user installation sends people without a session cookie."""
    if not settings.SINGLE_USER:
        raise Http404
    return render(request, "teams/open.html", {"wrong": False}, status=403)


def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Where every page sends people who are not signed in (`LOGIN_URL`)."""
    if settings.SINGLE_USER:
        return redirect("how_to_open")
    query = request.META["QUERY_STRING"]
    return redirect(reverse("account_login") + (f"?{query}" if query else ""))


def reset_password(request: HttpRequest) -> HttpResponseBase:
    """By e-mail, where the installation sends any."""
    if not settings.EMAIL_HOST:
        return render(request, "teams/no_reset.html")
    response: HttpResponseBase = password_reset(request)
    return response
