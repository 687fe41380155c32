"""The catalogue: providers side by side, one provider alone, a team's own rows, what was measured, and exports."""

from __future__ import annotations

from datetime import date
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from rlmweb.teams.models import Team
from sandboxes.catalogue import keeping
from sandboxes.catalogue.access import teams_of, teams_written_by
from sandboxes.catalogue.asking import Question, UnknownQuestion, question_of, table_of
from sandboxes.catalogue.claims import Status
from sandboxes.catalogue.entries import entries
from sandboxes.catalogue.export import measured_to_csv, to_csv, to_plain
from sandboxes.catalogue.figure import figure_version, measured_figure
from sandboxes.catalogue.forms import RowForm
from sandboxes.catalogue.keys import ADAPTERS, CAPABILITIES, COMPARED, PROVIDERS
from sandboxes.catalogue.models import CatalogueRow
from sandboxes.catalogue.summaries import REAL, WINDOW, Source, summaries

PREFILLED = ("capability_key", "claim_text", "support")
"""What a link to the form may fill in."""


@never_cache
@login_required
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    """`need` and `status`, each as often as wanted; `team`: whose rows stand beside ours."""
    team = _team(request)
    problem = ""
    try:
        question = _question(request)
    except UnknownQuestion as error:
        question, problem = Question(), str(error)
    measured = summaries(REAL)
    context = {
        "team": team,
        "teams": teams_of(request.user),
        "question": question,
        "problem": problem,
        "table": table_of(entries(team), question),
        "needs": CAPABILITIES,
        "statuses": [each.value for each in Status],
        "compared": COMPARED,
        "measured": measured,
        "loopback": summaries([Source.LOOPBACK]),
        "version": figure_version(measured),
        "window_days": WINDOW.days,
    }
    return render(request, "sandboxes/catalogue.html", context, status=422 if problem else 200)


@never_cache
@login_required
@require_safe
def catalogue_figure(request: HttpRequest) -> JsonResponse:
    return JsonResponse(measured_figure(summaries(REAL)))


@never_cache
@login_required
@require_safe
def catalogue_export(request: HttpRequest, name: str) -> HttpResponse:
    """`catalogue.json` (with the measurements), `catalogue.csv`, `measurements.csv`; the same parameters as the page."""
    try:
        shown = table_of(entries(_team(request)), _question(request)).shown
    except UnknownQuestion as error:
        return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")
    every = [*REAL, Source.LOOPBACK]  # each row says which it is
    if name == "catalogue.json":
        response: HttpResponse = JsonResponse(to_plain(shown, summaries(every)), json_dumps_params={"indent": 2})
    elif name in ("catalogue.csv", "measurements.csv"):
        text = to_csv(shown) if name == "catalogue.csv" else measured_to_csv(summaries(every))
        response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    else:
        raise Http404
    response["Content-Disposition"] = f'attachment; filename="providers-{name}"'
    return response


@never_cache
@login_required
@require_safe
def catalogue_provider(request: HttpRequest, provider: str) -> HttpResponse:
    team = _team(request)
    filled = {name: request.GET[name][:500] for name in PREFILLED if name in request.GET}
    return _provider_page(request, _known(provider), team, RowForm(initial={"as_of": date.today(), **filled}))


@login_required
@require_POST
def catalogue_row_add(request: HttpRequest, provider: str) -> HttpResponse:
    team = get_object_or_404(teams_written_by(request.user), slug=request.POST.get("team", ""))
    form = RowForm(request.POST)
    if form.is_valid():
        try:
            keeping.add_row(team, form.claim(_known(provider)), actor=_name(request), source="web")
        except keeping.RefusedRow as error:
            form.add_error(error.field or None, str(error))
        else:
            messages.success(request, "The row is stored. It stands beside what is shipped.")
            return _back(provider, team)
    return _provider_page(request, _known(provider), team, form, status=422)


@login_required
@require_POST
def catalogue_row_remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    rows = CatalogueRow.objects.filter(team__in=teams_written_by(request.user)).select_related("team")
    row = get_object_or_404(rows, uuid=uuid)
    keeping.remove_row(row, actor=_name(request), source="web")
    messages.success(request, "The row is removed.")
    return _back(row.provider, row.team)


def _provider_page(
    request: HttpRequest, provider: str, team: Team | None, form: RowForm, *, status: int = 200
) -> HttpResponse:
    rows = [row for row in entries(team) if row.provider == provider]
    context: dict[str, Any] = {
        "provider": provider,
        "title": PROVIDERS[provider],
        "others": PROVIDERS,
        "team": team,
        "answers": [row for row in rows if row.kind == "answer"],
        "claims": [row for row in rows if row.kind != "answer"],
        "measured": [each for each in summaries(REAL) if each.provider in ADAPTERS.get(provider, (provider,))],
        "may_write": team is not None and teams_written_by(request.user).filter(pk=team.pk).exists(),
        "form": form,
        "filling": form.is_bound or any(name in request.GET for name in PREFILLED),
    }
    return render(request, "sandboxes/catalogue_provider.html", context, status=status)


def _question(request: HttpRequest) -> Question:
    return question_of(request.GET.getlist("need"), [each for each in request.GET.getlist("status") if each])


def _team(request: HttpRequest) -> Team | None:
    """The team that the address names, or the person's first; None for who is in none. Raises `Http404`."""
    teams = teams_of(request.user)
    slug = request.GET.get("team", "")
    return get_object_or_404(teams, slug=slug) if slug else teams.first()


def _known(provider: str) -> str:
    if provider not in PROVIDERS:
        raise Http404
    return provider


def _name(request: HttpRequest) -> str:
    return cast("User", request.user).get_username()


def _back(provider: str, team: Team) -> HttpResponse:
    return redirect(f"{reverse('sandboxes:catalogue_provider', args=[provider])}?team={team.slug}")
