"""Sandbox providers of a team: keys, order, attestations, and which of them fit what a session needs."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from rlmweb.teams.models import Team
from runs.access import actor_of, may_keep_keys, teams_to_keep_keys_of, teams_to_start_in
from runs.engine.limits import Limits
from runs.provider_forms import AccountForm, AttestationForm, NeedsForm, OrderForm, needs_from
from runs.services.config import InvalidConfig
from runs.services.places import spec_of
from sandboxes.accounts import keeping
from sandboxes.accounts.addresses import RefusedAddress
from sandboxes.choosing import fits
from sandboxes.models import ProviderAccount, ProviderAttestation
from sandboxes.needs import Needs
from sandboxes.vendors import TITLES, VENDORS, Vendor


@never_cache
@login_required
@require_safe
def providers(request: HttpRequest) -> HttpResponse:
    return _page(request, _team(request))


@never_cache
@login_required
@sensitive_post_parameters()
@require_POST
def account_save(request: HttpRequest, name: str) -> HttpResponse:
    team, vendor = _team(request, keeps_keys=True), _vendor(name)
    known = ProviderAccount.objects.filter(team=team, provider=name).exists()
    form = AccountForm(vendor, request.POST, has_key=known)
    if not form.is_valid() or not _save(request, team, vendor, form):
        return _page(request, team, forms={name: form}, status=422)
    messages.success(request, f"The key for {vendor.title} is stored. Check it before you rely on it.")
    return _back(team)


@login_required
@require_POST
def account_check(request: HttpRequest, uuid: UUID) -> HttpResponse:
    account = _account(request, uuid)
    keeping.check_account(account)
    return _back(account.team)


@login_required
@require_POST
def account_remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    account = _account(request, uuid)
    actor = actor_of(request.user, "web")
    try:
        keeping.remove_account(account, actor=actor.name, source=actor.source)
        messages.success(request, f"The key for {TITLES[account.provider]} is removed.")
    except keeping.Refused as error:
        messages.error(request, str(error))
    return _back(account.team)


@login_required
@require_POST
def order_save(request: HttpRequest) -> HttpResponse:
    team, actor = _team(request, keeps_keys=True), actor_of(request.user, "web")
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _page(request, team, order=form, status=422)
    keeping.save_order(team, form.names(), actor=actor.name, source=actor.source)
    messages.success(request, "The order of providers is stored. It holds for new sessions.")
    return _back(team)


@login_required
@require_POST
def attestation_add(request: HttpRequest) -> HttpResponse:
    team, actor = _team(request, keeps_keys=True), actor_of(request.user, "web")
    form = AttestationForm(request.POST)
    if not form.is_valid():
        return _page(request, team, attestation=form, status=422)
    keeping.add_attestation(team, **form.cleaned_data, actor=actor.name, source=actor.source)
    return _back(team)


@login_required
@require_POST
def attestation_remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = get_object_or_404(
        ProviderAttestation.objects.filter(team__in=teams_to_keep_keys_of(request.user)).select_related("team"),
        uuid=uuid,
    )
    actor = actor_of(request.user, "web")
    keeping.remove_attestation(row, actor=actor.name, source=actor.source)
    return _back(row.team)


@never_cache
@login_required
@require_POST
def providers_fit(request: HttpRequest) -> HttpResponse:
    """A part of a page: which providers fit what the form says, why the others do not, and what an hour costs."""
    form = NeedsForm(request.POST)
    team = _team(request)
    try:
        if not form.is_valid():
            return render(request, "runs/_fits.html", {"errors": form.errors}, status=422)
        needs = needs_from(form.cleaned_data)
    except InvalidConfig as error:
        return render(request, "runs/_fits.html", {"problem": str(error)}, status=422)
    return render(request, "runs/_fits.html", {"fits": fits(needs, spec_of(needs, Limits()), team)})


def _save(request: HttpRequest, team: Team, vendor: Vendor, form: AccountForm) -> bool:
    actor = actor_of(request.user, "web")
    try:
        keeping.save_account(team, vendor.name, form.cleaned_data, actor=actor.name, source=actor.source)
    except keeping.Refused as error:
        form.add_error(error.field or None, str(error))
        return False
    except RefusedAddress as error:
        form.add_error(next(field.name for field in vendor.fields if field.kind == "url"), str(error))
        return False
    return True


def _page(
    request: HttpRequest,
    team: Team,
    *,
    forms: dict[str, AccountForm] | None = None,
    order: OrderForm | None = None,
    attestation: AttestationForm | None = None,
    status: int = 200,
) -> HttpResponse:
    accounts = {row.provider: row for row in ProviderAccount.objects.filter(team=team)}
    plain = Needs()
    found = {fit.name: fit for fit in fits(plain, spec_of(plain, Limits()), team)}
    rows = []
    for vendor in VENDORS.values():
        account = accounts.get(vendor.name)
        form = (forms or {}).get(vendor.name) or AccountForm(
            vendor, initial=account.options if account else None, has_key=account is not None
        )
        rows.append({"vendor": vendor, "account": account, "form": form, "fit": found[vendor.name]})
    context = {
        "team": team,
        "teams": (teams_to_start_in(request.user) | teams_to_keep_keys_of(request.user)).distinct(),
        "rows": rows,
        "local": found["local"],
        "may_change": may_keep_keys(request.user, team),
        "order": order or OrderForm(initial=OrderForm.initial_of(keeping.order_of(team))),
        "order_names": [TITLES[name] for name in keeping.order_of(team)],
        "attestation": attestation or AttestationForm(),
        "attestations": [
            (row, TITLES.get(row.provider, row.provider)) for row in ProviderAttestation.objects.filter(team=team)
        ],
    }
    return render(request, "runs/providers.html", context, status=status)


def _team(request: HttpRequest, *, keeps_keys: bool = False) -> Team:
    """The team that the address names, or the person's first. Raises `Http404`."""
    slug = request.POST.get("team") or request.GET.get("team") or ""
    kept = teams_to_keep_keys_of(request.user)
    allowed = kept if keeps_keys else (kept | teams_to_start_in(request.user)).distinct()
    if slug:
        return get_object_or_404(allowed, slug=slug)
    team = allowed.first()
    if team is None:
        raise Http404
    return team


def _vendor(name: str) -> Vendor:
    vendor = VENDORS.get(name)
    if vendor is None:
        raise Http404
    return vendor


def _account(request: HttpRequest, uuid: UUID) -> ProviderAccount:
    rows = ProviderAccount.objects.filter(team__in=teams_to_keep_keys_of(request.user)).select_related("team")
    return get_object_or_404(rows, uuid=uuid)


def _back(team: Team) -> HttpResponse:
    return redirect(f"{reverse('runs:providers')}?team={team.slug}")
