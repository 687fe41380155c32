"""The way to the identity provider. django-allauth does the rest.

Browsers hold a form to the pages' `form-action` through every redirect that follows it, and an identity provider may
redirect anywhere. So the form is answered with a page of ours, and that page leads away.
"""

from __future__ import annotations

from allauth.socialaccount.providers.openid_connect.views import login as begin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods


@never_cache
@require_http_methods(["GET", "POST"])
def leave_for_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """GET asks whether to; POST goes."""
    answer: HttpResponse = begin(request, provider_id)
    if request.method != "POST" or answer.status_code != 302 or answer["Location"].startswith("/"):
        return answer
    return render(request, "teams/leaving.html", {"address": answer["Location"]})
