"""What this installation can do now: the local model, the sandboxes, where contexts may come from."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from rlmweb.audit.access import chains_of
from rlmweb.teams.permissions import Permission, organisations_with
from runs.access import team_for
from runs.lm.embedded import request_retry, status
from runs.lm.embedded.known import DEFAULT
from runs.lm.prices import table_version
from sandboxes.status import local_status


@never_cache
@login_required
@require_GET
def status_page(request: HttpRequest) -> HttpResponse:
    context = {
        "sees_audit": bool(chains_of(request.user)),
        "oversees": organisations_with(request.user, Permission.SEE_FACTS).exists(),
        "model": status(),
        "known": DEFAULT,
        "local": local_status(),
        "prices": table_version(),
        "model_hosts": settings.MODEL_HOSTS,
        "context_hosts": settings.CONTEXT_HOSTS,
        "context_paths": settings.CONTEXT_PATHS,
        "upload_max_bytes": settings.UPLOAD_MAX_BYTES,
    }
    return render(request, "runs/status.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def model_status(request: HttpRequest) -> HttpResponse:
    """The widget that pages refresh while weights are on their way; a POST asks to try a failed download again."""
    if request.method == "POST":
        team_for(request.user)
        request_retry()
        if not request.headers.get("HX-Request"):
            return redirect("runs:status")
    return render(request, "runs/_model.html", {"model": status()})
