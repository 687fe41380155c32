"""What goes on in an organisation now, for those who look after it or audit it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from rlmweb.audit.record import record
from rlmweb.teams.models import Organisation, Team
from rlmweb.teams.permissions import Permission, organisations_with, teams_with
from runs.services.overview import MOST_ROWS, failed_csv, failed_of, overview, running_csv, running_of, sessions_in

FILES = ("running", "failed")


@never_cache
@login_required
@require_GET
def overview_first(request: HttpRequest) -> HttpResponse:
    """The one that there is; a choice where there are more."""
    found = list(organisations_with(request.user, Permission.SEE_FACTS).order_by("name"))
    if not found:
        raise Http404
    if len(found) == 1:
        return redirect("runs:overview", slug=found[0].slug)
    return render(request, "runs/overview_choice.html", {"organisations": found})


@never_cache
@login_required
@require_GET
def overview_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Asks for itself again every few seconds; then only its inner part is answered."""
    organisation = _organisation(request, slug)
    team = _team(request, organisation)
    context = {
        "organisation": organisation,
        "teams": organisation.teams.order_by("name"),
        "team": team,
        "most": MOST_ROWS,
        "found": overview(organisation, team),
        # Most who look at this do not see what sessions hold: a link would lead them to a page that is not there.
        "content_teams": set(teams_with(request.user, Permission.SEE_CONTENT).values_list("pk", flat=True)),
    }
    return render(request, "runs/_overview.html" if request.headers.get("X-Refresh") else "runs/overview.html", context)


@never_cache
@login_required
@require_GET
def overview_file(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    """`running.csv`, `failed.csv`: every row, not only those that the page has room for."""
    organisation = _organisation(request, slug)
    team = _team(request, organisation)
    sessions = sessions_in(organisation, team)
    if name not in FILES:
        raise Http404
    text = running_csv(running_of(sessions)) if name == "running" else failed_csv(failed_of(sessions, timezone.now()))
    record(
        "overview.export",
        actor=request.user.get_username(),
        object_type="organisation",
        object_id=organisation.uuid,
        team_uuid=organisation.uuid,
        details={"file": name, "team": team.slug if team else ""},
    )
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{organisation.slug}.csv"'
    return response


def _organisation(request: HttpRequest, slug: str) -> Organisation:
    """One that is not there and one of others are the same answer."""
    return get_object_or_404(organisations_with(request.user, Permission.SEE_FACTS), slug=slug)


def _team(request: HttpRequest, organisation: Organisation) -> Team | None:
    slug = request.GET.get("team", "").replace("\x00", "")
    return get_object_or_404(organisation.teams, slug=slug) if slug else None
