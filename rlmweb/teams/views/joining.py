"""The page behind an invitation. Its code comes in the fragment of the address, or by hand."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from rlmweb.teams.invitations import accept, carried, carry
from rlmweb.teams.people import NotPossible


@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """GET: what one was invited to, or a field for the code. POST with a code: keep it; without: accept."""
    if settings.SINGLE_USER:
        raise Http404
    if request.method == "POST" and "code" in request.POST:
        found = carry(request, request.POST["code"].strip())
        return redirect("teams:join") if found else _page(request, wrong=True)
    if request.method == "POST":
        return _accept(request)
    return _page(request)


def _accept(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect("teams:join")
    try:
        row = accept(request, request.user)
    except NotPossible as error:
        return _page(request, problem=str(error))
    if row is None:
        return _page(request, wrong=True)
    messages.success(request, f"Welcome to {row.team or row.organisation}.")
    return redirect("runs:session_list")


def _page(request: HttpRequest, *, wrong: bool = False, problem: str = "") -> HttpResponse:
    here = urlencode({"next": reverse("teams:join")})
    context = {
        "invitation": carried(request),
        "wrong": wrong,
        "problem": problem,
        "sign_in": f"{reverse('account_login')}?{here}",
        "sign_up": f"{reverse('account_signup')}?{here}",
    }
    return render(request, "teams/join.html", context, status=404 if wrong else 409 if problem else 200)
