"""Straight lines, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from rlmweb.quotas.forecast import daily_rate, forecast, project
from rlmweb.quotas.models import Balance
from rlmweb.quotas.scopes import WHOLE

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def spent_on(day: date, used: int) -> None:
    Balance.objects.create(
        scope_kind=WHOLE.kind,
        scope_uuid=WHOLE.uuid,
        resource="cost_micro_usd",
        period="day",
        period_start=day,
        used=used,
    )


def test_the_line_goes_on_to_the_end_of_the_month() -> None:
    # Seven and a half days are left of November.
    found = project(per_day=10, limit=1_000, spent=200, committed=30, period="month", now=NOW)
    assert (found.at_end, found.committed, found.runs_out_at) == (275, 30, None)


def test_it_says_when_the_limit_is_reached() -> None:
    found = project(per_day=100, limit=300, spent=200, committed=0, period="month", now=NOW)
    assert found.runs_out_at == NOW + timedelta(days=1)
    full = project(per_day=0, limit=300, spent=300, committed=0, period="day", now=NOW)
    assert full.runs_out_at == NOW


def test_what_has_no_period_has_no_forecast() -> None:
    with pytest.raises(ValueError, match="no end"):
        project(per_day=1, limit=1, spent=0, committed=0, period="none", now=NOW)


@pytest.mark.django_db
def test_the_rate_is_that_of_the_last_seven_whole_days() -> None:
    for ago, used in ((0, 5_000), (1, 700), (7, 700), (8, 9_999_999)):
        spent_on(NOW.date() - timedelta(days=ago), used)
    assert daily_rate(WHOLE, "cost_micro_usd", NOW) == 200
    found = forecast(WHOLE, "cost_micro_usd", "month", 10**9, spent=6_400, committed=0, now=NOW)
    assert found.at_end == 6_400 + 1_500


@pytest.mark.django_db
def test_days_before_the_first_use_do_not_count() -> None:
    spent_on(NOW.date() - timedelta(days=2), 100)
    assert daily_rate(WHOLE, "cost_micro_usd", NOW) == 50


@pytest.mark.django_db
def test_on_the_first_day_its_own_rate_is_all_there_is() -> None:
    spent_on(NOW.date(), 100)
    assert daily_rate(WHOLE, "cost_micro_usd", NOW) == 200
    assert daily_rate(WHOLE, "sandbox_ms", NOW) == 0
