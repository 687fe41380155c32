"""What a session spent along its time: the page with the chart and the table, and the figure for Plotly."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runs.access import session_for
from runs.models import Session
from runs.spending import SHOWN_STEPS, figure_version, spending_by_step, spending_figure
from sandboxes.spending import sandbox_spending


@never_cache
@login_required
@require_safe
def session_spending(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid)
    context = {
        "session": session,
        "steps": spending_by_step(session),
        "sandboxes": sandbox_spending(session.uuid),
        "most_steps": SHOWN_STEPS,
        "version": figure_version(session),
        "running": session.status == Session.Status.RUNNING,
    }
    part = request.headers.get("HX-Request") == "true"
    return render(request, "runs/_spending.html" if part else "runs/spending.html", context)


@never_cache
@login_required
@require_safe
def session_spending_figure(request: HttpRequest, uuid: UUID) -> JsonResponse:
    return JsonResponse(spending_figure(session_for(request.user, uuid)))
