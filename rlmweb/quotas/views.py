"""The page of quotas: what is used of them, where it is heading, and the forms of who may set them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.quotas.access import Place, place_for, places_for, require_setter
from rlmweb.quotas.booking import ends_at, starts_on
from rlmweb.quotas.effect import effect_of
from rlmweb.quotas.forecast import Forecast, forecast
from rlmweb.quotas.forms import QuotaForm
from rlmweb.quotas.models import Balance, Period, Quota
from rlmweb.quotas.resources import Resource, UnknownResource, resource_named
from rlmweb.quotas.setting import remove_quota, set_quota
from rlmweb.quotas.warnings import Standing, standings

MOST_PLACES = 50
"""Shown at once; a filter by name finds the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quota, or use without one (`quota` None), in words."""

    resource: Resource
    period: str
    used: str
    reserved: str
    resets_at: datetime | None
    quota: Quota | None = None
    limit: str = ""
    entered: str = ""
    percent: int = 0
    state: str = ""
    forecast: Forecast | None = None

    @property
    def at_end(self) -> str:
        return self.resource.shown(self.forecast.at_end) if self.forecast is not None else ""


@dataclass(frozen=True, slots=True)
class Section:
    place: Place
    rows: list[Row]
    form: QuotaForm | None


@never_cache
@login_required
@require_GET
def quotas(request: HttpRequest) -> HttpResponse:
    return _page(request)


@never_cache
@login_required
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What the limit in the form would have done last week."""
    require_setter(request.user)
    form = QuotaForm(request.POST)
    if not form.is_valid():
        said = "; ".join(f"{name}: {error}" for name, errors in form.errors.items() for error in errors)
        return render(request, "quotas/_effect.html", {"problem": said}, status=422)
    wanted = form.cleaned_data
    place = place_for(request.user, *wanted["scope"], to_set=True)
    effect = effect_of(
        place.scope,
        wanted["resource"].name,
        wanted["limit"],
        wanted["period"],
        wanted["on_exceed"],
        now=timezone.now(),
    )
    return render(request, "quotas/_effect.html", {"effect": effect})


@never_cache
@login_required
@require_POST
def quota_set(request: HttpRequest) -> HttpResponse:
    require_setter(request.user)
    form = QuotaForm(request.POST)
    if not form.is_valid():
        if "scope" in form.cleaned_data:
            place_for(request.user, *form.cleaned_data["scope"], to_set=True)
        return _page(request, status=422, wrong=form)
    wanted = form.cleaned_data
    place = place_for(request.user, *wanted["scope"], to_set=True)
    quota = set_quota(
        place.scope,
        wanted["resource"].name,
        wanted["period"],
        limit=wanted["limit"],
        soft_percent=wanted["soft_percent"],
        on_exceed=wanted["on_exceed"],
        note=wanted["note"],
        actor=request.user.get_username(),
    )
    shown = wanted["resource"].shown(quota.limit)
    messages.success(request, f"{place.name}: {wanted['resource'].title.lower()} are limited to {shown}.")
    return redirect("quotas:quotas")


@never_cache
@login_required
@require_POST
def quota_remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    quota = get_object_or_404(Quota, uuid=uuid)
    place = place_for(request.user, quota.scope_kind, quota.scope_uuid, to_set=True)
    remove_quota(quota, actor=request.user.get_username())
    messages.success(request, f"{place.name}: the limit is removed. Use is counted on.")
    return redirect("quotas:quotas")


def _page(request: HttpRequest, *, status: int = 200, wrong: QuotaForm | None = None) -> HttpResponse:
    places = places_for(request.user)
    text = request.GET.get("q", "")[:200].strip().lower()
    found = [place for place in places if text in place.name.lower()] if text else places
    context: dict[str, Any] = {
        "sections": [_section(place, wrong) for place in found[:MOST_PLACES]],
        "text": text,
        "filters": len(places) > 6,
        "left_out": max(0, len(found) - MOST_PLACES),
    }
    return render(request, "quotas/quotas.html", context, status=status)


def _section(place: Place, wrong: QuotaForm | None) -> Section:
    now = timezone.now()
    held = [_row(standing, now) for standing in standings([place.scope], now.date())]
    limited = {(row.resource.name, row.period) for row in held}
    rows = held + [row for row in _unlimited(place, now) if (row.resource.name, row.period) not in limited]
    return Section(place, rows, _form(place, wrong) if place.may_set else None)


def _form(place: Place, wrong: QuotaForm | None) -> QuotaForm:
    if wrong is not None and wrong.cleaned_data.get("scope") == (place.scope.kind, place.scope.uuid):
        return wrong
    # Every section has one: their fields need names of their own.
    return QuotaForm(initial={"scope": place.key, "period": "month"}, auto_id=f"id_{place.scope.uuid.hex}_%s")


def _row(standing: Standing, now: datetime) -> Row:
    quota, resource = standing.quota, standing.resource
    state = "bad" if standing.is_full else "warn" if standing.is_warned else "good"
    found = None
    if resource.kind == "flow":
        found = forecast(
            quota.scope,
            quota.resource,
            quota.period,
            quota.limit,
            spent=standing.used,
            committed=standing.reserved,
            now=now,
        )
    is_cap = resource.kind == "cap"
    return Row(
        resource,
        quota.period,
        "" if is_cap else resource.shown(standing.used),
        "" if is_cap else resource.shown(standing.reserved),
        standing.resets_at,
        quota,
        resource.shown(quota.limit),
        f"{quota.limit / resource.per_unit:.6f}".rstrip("0").rstrip("."),
        min(100, standing.percent),
        "" if is_cap else state,
        found,
    )


def _unlimited(place: Place, now: datetime) -> list[Row]:
    """What is used without a limit, this month or at this moment."""
    today = now.date()
    starts = [starts_on("month", today), starts_on("none", today)]
    balances = Balance.objects.filter(
        scope_kind=place.scope.kind,
        scope_uuid=place.scope.uuid,
        period__in=(Period.MONTH, Period.NONE),
        period_start__in=starts,
    ).order_by("resource")
    rows = []
    for balance in balances:
        try:
            resource = resource_named(balance.resource)
        except UnknownResource:
            continue  # counted by another release
        shown = resource.shown(balance.used), resource.shown(balance.reserved)
        rows.append(Row(resource, balance.period, *shown, ends_at(balance.period, today)))
    return rows
