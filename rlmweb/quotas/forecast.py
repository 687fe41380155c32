"""Where spending is heading: a straight line from the last days to the end of the period. No more is claimed for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Sum

from rlmweb.quotas.booking import ends_at
from rlmweb.quotas.models import Balance
from rlmweb.quotas.scopes import Scope

DAYS = 7
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Forecast:
    """In the resource's unit. `at_end`: what will have been spent when the period is over, if it goes on like this.

    `runs_out_at`: when that line crosses the limit; None when it does not before the period is over.
    """

    spent: int
    committed: int
    per_day: float
    at_end: int
    runs_out_at: datetime | None


def forecast(
    scope: Scope, resource: str, period: str, limit: int, *, spent: int, committed: int, now: datetime
) -> Forecast:
    """`spent` and `committed`: used and reserved in the present period. `period`: `day` or `month`."""
    return project(
        per_day=daily_rate(scope, resource, now), limit=limit, spent=spent, committed=committed, period=period, now=now
    )


def project(*, per_day: float, limit: int, spent: int, committed: int, period: str, now: datetime) -> Forecast:
    ends = ends_at(period, now.date())
    if ends is None:
        raise ValueError("What has no period has no end to look forward to.")
    left_days = (ends - now).total_seconds() / DAY_S
    at_end = spent + round(per_day * left_days)
    runs_out_at = None
    if spent >= limit:
        runs_out_at = now
    elif at_end > limit:
        runs_out_at = now + timedelta(days=(limit - spent) / per_day)
    return Forecast(spent, committed, per_day, at_end, runs_out_at)


def daily_rate(scope: Scope, resource: str, now: datetime) -> float:
    """Used on an average day: of the last seven whole days, or of those since the first use if that was later.

    Before the first day is over, of what has passed of it.
    """
    used = _days(scope, resource, now.date())
    if not used:
        return 0.0
    whole = {day: amount for day, amount in used.items() if day < now.date()}
    if whole:
        return sum(whole.values()) / (now.date() - min(whole)).days
    midnight = datetime.combine(now.date(), datetime.min.time(), tzinfo=now.tzinfo)
    # At least an hour: a minute past midnight says nothing about the day.
    passed_s = max(3600.0, (now - midnight).total_seconds())
    return used[now.date()] * DAY_S / passed_s


def _days(scope: Scope, resource: str, today: date) -> dict[date, int]:
    """Used by day, of the last seven days and today, as far as there was use."""
    rows = Balance.objects.filter(
        scope_kind=scope.kind,
        scope_uuid=scope.uuid,
        resource=resource,
        period="day",
        period_start__gte=today - timedelta(days=DAYS),
        period_start__lte=today,
        used__gt=0,
    )
    return dict(rows.values_list("period_start").annotate(total=Sum("used")))
