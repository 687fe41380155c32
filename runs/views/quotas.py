"""What a session waits for, and which of its quotas are near their limit: a piece of the run page that replaces itself."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from rlmweb.quotas.models import Waiting
from rlmweb.quotas.warnings import warned
from runs.access import session_for
from runs.models import Session
from runs.services.quota_scopes import scopes_of_session


@never_cache
@login_required
@require_GET
def session_quotas(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid)
    if session.status != Session.Status.RUNNING:
        return render(request, "runs/_quotas.html", {"session": session})
    context = {
        "session": session,
        "runs": True,
        "waiting": Waiting.objects.filter(session_uuid=session.uuid).order_by("since").first(),
        "warned": warned(scopes_of_session(session)),
    }
    return render(request, "runs/_quotas.html", context)
