"""Who belongs where: seen by leads and up, changed as far as one's own role reaches."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.audit.record import record as audit
from rlmweb.teams.forms import NONE, ContentForm, InviteForm, RoleForm, TeamForm
from rlmweb.teams.grants import break_glass, end_grant, grant_content
from rlmweb.teams.invitations import invite, send, withdraw
from rlmweb.teams.models import ContentGrant, Invitation, Organisation
from rlmweb.teams.people import NotPossible, add_team, give_role, may_give, require_second_factor, take_role
from rlmweb.teams.permissions import Permission, allows, organisations_with, teams_with
from rlmweb.teams.review import live_grants, review_csv, rows_of


@login_required
@require_GET
def first(request: HttpRequest) -> HttpResponse:
    found = _visible(request).first()
    if found is None:
        raise Http404
    return redirect("teams:people", found.slug)


@never_cache
@login_required
@require_GET
def people(request: HttpRequest, slug: str) -> HttpResponse:
    return _page(request, _organisation(request, slug))


@login_required
@require_GET
def review(request: HttpRequest, slug: str) -> HttpResponse:
    """Who can see what, for an access review."""
    organisation = _organisation(request, slug, Permission.SEE_PEOPLE)
    audit(
        "people.export",
        actor=request.user.get_username(),
        object_type="organisation",
        object_id=organisation.uuid,
        team_uuid=organisation.uuid,
    )
    response = HttpResponse(review_csv(organisation), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="access-{organisation.slug}.csv"'
    return response


@login_required
@require_POST
def team_add(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = _organisation(request, slug, Permission.KEEP_PEOPLE)
    form = TeamForm(request.POST)
    if form.is_valid():
        try:
            team = add_team(organisation, form.cleaned_data["name"], by=request.user)
        except NotPossible as error:
            form.add_error("name", str(error))
        else:
            return _done(request, organisation, f"The team {team.name} is there. Invite people to it, or give roles.")
    return _page(request, organisation, status=422, team_form=form)


@never_cache
@login_required
@require_POST
def invite_person(request: HttpRequest, slug: str) -> HttpResponse:
    """Invite, and show the address, once: by e-mail as well where the installation sends any."""
    organisation = _changeable(request, slug)
    form = InviteForm(organisation, request.POST)
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            row, code = invite(request.user, organisation, wanted["team"], wanted["email"], wanted["role"])
        except NotPossible as error:
            form.add_error(None, str(error))
        else:
            address = f"{request.build_absolute_uri(reverse('teams:join'))}#{code}"
            if settings.EMAIL_HOST:
                send(row, address)
            return _page(request, organisation, invited=(row, address))
    return _page(request, organisation, status=422, invite_form=form)


@login_required
@require_POST
def invitation_withdraw(request: HttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    organisation = _changeable(request, slug)
    row = get_object_or_404(_invitations(request, organisation), uuid=uuid)
    if not may_give(request.user, row.role, organisation, row.team):
        raise Http404
    withdraw(row, request.user)
    return _done(request, organisation, f"The invitation of {row.email} opens nothing any more.")


@login_required
@require_POST
def role_set(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = _changeable(request, slug)
    form = RoleForm(organisation, request.POST)
    if form.is_valid():
        wanted = form.cleaned_data
        user, role, team = wanted["user"], wanted["role"], wanted["team"]
        try:
            if role == NONE:
                take_role(user, organisation, team, by=request.user)
            else:
                give_role(user, role, organisation, team, by=request.user)
        except NotPossible as error:
            form.add_error(None, str(error))
        else:
            said = "has no role" if role == NONE else f"is {role}"
            return _done(request, organisation, f"{user} {said} in {team or organisation} now.")
    return _page(request, organisation, status=422, role_form=form)


@login_required
@require_POST
def second_factor(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = _organisation(request, slug, Permission.SET_RULES)
    required = request.POST.get("required") == "yes"
    require_second_factor(organisation, required, by=request.user)
    return _done(request, organisation, "A second factor is asked for." if required else "A second factor is optional.")


@login_required
@require_POST
def content_grant(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = _organisation(request, slug, Permission.BREAK_GLASS)
    form = ContentForm(organisation, request.POST)
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            if wanted["user"] is None:
                row = break_glass(request.user, wanted["team"], wanted["reason"])
            else:
                row = grant_content(request.user, wanted["user"], wanted["team"], wanted["reason"], wanted["days"])
        except NotPossible as error:
            form.add_error(None, str(error))
        else:
            return _done(request, organisation, f"{row}.")
    return _page(request, organisation, status=422, content_form=form)


@login_required
@require_POST
def content_end(request: HttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    organisation = _organisation(request, slug)
    row = get_object_or_404(ContentGrant, team__organisation=organisation, uuid=uuid)
    try:
        end_grant(request.user, row)
    except NotPossible:
        raise Http404 from None
    return _done(request, organisation, "The look has ended.")


def _visible(request: HttpRequest) -> QuerySet[Organisation]:
    """Organisations whose people this person sees: as a whole, or those of teams that the person leads."""
    led = teams_with(request.user, Permission.SEE_PEOPLE).values("organisation_id")
    return organisations_with(request.user, Permission.SEE_PEOPLE) | Organisation.objects.filter(pk__in=led)


def _organisation(request: HttpRequest, slug: str, permission: Permission | None = None) -> Organisation:
    """Raises `Http404`."""
    found = organisations_with(request.user, permission) if permission else _visible(request)
    return get_object_or_404(found.distinct(), slug=slug)


def _changeable(request: HttpRequest, slug: str) -> Organisation:
    """One in which this person gives some role. Raises `Http404`."""
    kept = teams_with(request.user, Permission.KEEP_TEAM).values("organisation_id")
    found = organisations_with(request.user, Permission.KEEP_PEOPLE) | Organisation.objects.filter(pk__in=kept)
    return get_object_or_404(found.distinct(), slug=slug)


def _invitations(request: HttpRequest, organisation: Organisation) -> QuerySet[Invitation]:
    waiting = Invitation.objects.filter(organisation=organisation, accepted_at=None).select_related("team")
    if allows(request.user, Permission.SEE_PEOPLE, organisation):
        return waiting
    return waiting.filter(team__in=teams_with(request.user, Permission.KEEP_TEAM))


def _done(request: HttpRequest, organisation: Organisation, text: str) -> HttpResponse:
    messages.success(request, text)
    return redirect("teams:people", organisation.slug)


def _page(
    request: HttpRequest,
    organisation: Organisation,
    *,
    status: int = 200,
    invited: tuple[Invitation, str] | None = None,
    invite_form: InviteForm | None = None,
    role_form: RoleForm | None = None,
    team_form: TeamForm | None = None,
    content_form: ContentForm | None = None,
) -> HttpResponse:
    user = request.user
    whole = allows(user, Permission.SEE_PEOPLE, organisation)
    seen = (
        organisation.teams.all() if whole else teams_with(user, Permission.SEE_PEOPLE).filter(organisation=organisation)
    )
    context = {
        "organisation": organisation,
        "organisations": _visible(request).distinct(),
        "rows": rows_of(organisation, seen, whole=whole),
        "whole": whole,
        "may_keep": whole and allows(user, Permission.KEEP_PEOPLE, organisation),
        "may_change": teams_with(user, Permission.KEEP_TEAM).filter(organisation=organisation).exists(),
        "may_set_rules": allows(user, Permission.SET_RULES, organisation),
        "may_look": allows(user, Permission.BREAK_GLASS, organisation),
        "may_grant": allows(user, Permission.GRANT_CONTENT, organisation),
        "invitations": _invitations(request, organisation),
        "grants": live_grants(organisation) if whole else [],
        "invited": invited,
        "sends_email": bool(settings.EMAIL_HOST),
        "invite_form": invite_form or InviteForm(organisation),
        "role_form": role_form or RoleForm(organisation),
        "team_form": team_form or TeamForm(),
        "content_form": content_form or ContentForm(organisation),
    }
    return render(request, "teams/people.html", context, status=status)
