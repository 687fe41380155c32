"""The policy of an organisation: what it means, a change with its preview, and every version there was."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.teams.models import Organisation, OrganisationPolicy
from rlmweb.teams.people import NotPossible
from rlmweb.teams.permissions import Permission, allows, organisations_with, teams_with
from rlmweb.teams.policies.affected import Affected, affected_by
from rlmweb.teams.policies.current import Policy, policy_of, read_policy
from rlmweb.teams.policies.forms import PolicyForm, initial_of
from rlmweb.teams.policies.keeping import draft, set_policy
from rlmweb.teams.policies.profiles import HIPAA, PROFILES, SUMMARIES
from rlmweb.teams.policies.words import Shown, shown

VERSIONS_SHOWN = 50


@never_cache
@login_required
@require_GET
def policy(request: HttpRequest, slug: str) -> HttpResponse:
    """`?profile=`: the form begins with the rules of that profile."""
    organisation = _organisation(request, slug)
    current = policy_of(organisation)
    chosen = request.GET.get("profile", "")
    rules = PROFILES.get(chosen) or current.rules or HIPAA
    profile = chosen if chosen in PROFILES else current.profile
    form = PolicyForm(initial=initial_of(profile, current.version, rules))
    return _page(request, organisation, form, opened=chosen in PROFILES)


@never_cache
@login_required
@require_POST
def policy_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The form as it was sent, with what it would change and refuse."""
    organisation = _organisation(request, slug, Permission.SET_RULES)
    form = PolicyForm(request.POST)
    drafted = _drafted(organisation, form)
    if drafted is None:
        return _page(request, organisation, form, status=422, opened=True)
    return _page(request, organisation, form, drafted=drafted, opened=True)


@login_required
@require_POST
def policy_set(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = _organisation(request, slug, Permission.SET_RULES)
    form = PolicyForm(request.POST)
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            row = set_policy(
                organisation, wanted["profile"], form.values(), by=request.user, expected_version=wanted["version"]
            )
        except NotPossible as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{row} holds from now on, for what runs already as well.")
            return redirect("teams:policy", organisation.slug)
    return _page(request, organisation, form, status=422, opened=True)


def _drafted(organisation: Organisation, form: PolicyForm) -> Policy | None:
    """None with the errors in the form."""
    if not form.is_valid():
        return None
    try:
        return draft(organisation, form.cleaned_data["profile"], form.values())[0]
    except NotPossible as error:
        form.add_error(None, str(error))
        return None


def _visible(request: HttpRequest) -> QuerySet[Organisation]:
    """Who may see the rules anywhere in an organisation sees those of the whole: there are no others."""
    by_team = teams_with(request.user, Permission.SEE_RULES).values("organisation_id")
    return organisations_with(request.user, Permission.SEE_RULES) | Organisation.objects.filter(pk__in=by_team)


def _organisation(request: HttpRequest, slug: str, permission: Permission | None = None) -> Organisation:
    """Raises `Http404`."""
    found = organisations_with(request.user, permission) if permission else _visible(request)
    return get_object_or_404(found.distinct(), slug=slug)


def _changed(before: Policy, after: Policy) -> list[tuple[Shown, str]]:
    """Rules that would change, as they would be, with what they are."""
    assert after.rules is not None
    old = {each.name: each.value for each in shown(before.rules)} if before.rules is not None else {}
    rows = [(each, old.get(each.name, "unreadable")) for each in shown(after.rules)]
    return [(each, was) for each, was in rows if each.value != was]


def _page(
    request: HttpRequest,
    organisation: Organisation,
    form: PolicyForm,
    *,
    status: int = 200,
    drafted: Policy | None = None,
    opened: bool = False,
) -> HttpResponse:
    current = policy_of(organisation)
    own = PROFILES.get(current.profile)
    affected: list[Affected] = affected_by(organisation, drafted) if drafted is not None else []
    versions = OrganisationPolicy.objects.filter(organisation=organisation).select_related("set_by")
    context = {
        "organisation": organisation,
        "current": current,
        "summary": SUMMARIES.get(current.profile, ""),
        "rules": shown(current.rules, own) if current.rules is not None else [],
        "profiles": SUMMARIES,
        "may_set": allows(request.user, Permission.SET_RULES, organisation),
        "sees_people": allows(request.user, Permission.SEE_PEOPLE, organisation),
        "form": form,
        "opened": opened,
        "drafted": drafted,
        "changed": _changed(current, drafted) if drafted is not None else [],
        "affected": affected,
        "history": [(row, read_policy(row)) for row in versions[:VERSIONS_SHOWN]],
    }
    return render(request, "teams/policy.html", context, status=status)
