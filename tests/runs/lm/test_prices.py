"""Cost of calls: the order of sources, cached tokens, rounding, and that unknown is never zero."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from runs.lm.base import Api, ModelChoice, Usage
from runs.lm.prices import TeamPrices, cost_of, estimate_micro_usd, table_date, table_version

TEAM = TeamPrices(Decimal("1.5"), Decimal(6))
KNOWN = ModelChoice("openai", "gpt-4o-mini")  # $0.15 and $0.60 for a million tokens
ELSEWHERE = ModelChoice("openai", "gpt-4o-mini", base_url="http://gpu-box:8000/v1")


def test_what_the_endpoint_reports_wins() -> None:
    cost = cost_of(KNOWN, Usage(1000, 100, reported_cost_usd=0.00125), team=TEAM)
    assert (cost.micro_usd, cost.source) == (1250, "reported")


def test_the_table_comes_next_and_is_dated() -> None:
    cost = cost_of(KNOWN, Usage(1000, 100), team=TEAM)
    assert (cost.micro_usd, cost.source) == (210, f"table {table_date()}")
    assert (
        datetime.date(2025, 1, 1)
        < datetime.date.fromisoformat(table_date())
        <= datetime.datetime.now(datetime.UTC).date()
    )
    assert table_version().startswith("genai-prices 0.")


def test_a_model_of_the_same_name_elsewhere_is_not_priced_from_the_table() -> None:
    assert cost_of(ELSEWHERE, Usage(1000, 100)).micro_usd is None
    cost = cost_of(ELSEWHERE, Usage(1000, 100), team=TEAM)
    assert (cost.micro_usd, cost.source) == (2100, "team")


def test_half_a_team_price_is_none() -> None:
    assert cost_of(ELSEWHERE, Usage(1000, 100), team=TeamPrices(Decimal(1))).source == "unknown"


@pytest.mark.parametrize("usage", [Usage(), Usage(1000), Usage(output_tokens=5)])
def test_without_counts_the_cost_is_unknown(usage: Usage) -> None:
    cost = cost_of(KNOWN, usage, team=TEAM)
    assert (cost.micro_usd, cost.source) == (None, "unknown")


def test_an_unknown_model_is_unknown() -> None:
    assert cost_of(ModelChoice("openai", "no-such-model"), Usage(1, 1)).micro_usd is None


@pytest.mark.parametrize(("api", "source"), [("embedded", "local"), ("scripted", "scripted")])
def test_models_of_our_own_are_free_and_say_why(api: Api, source: str) -> None:
    assert cost_of(ModelChoice(api, "m"), Usage(10**6, 10**6)).source == source
    assert estimate_micro_usd(ModelChoice(api, "m"), 10**6, 10**6) == 0


def test_cached_tokens_are_cheaper_and_writing_the_cache_dearer() -> None:
    claude = ModelChoice("anthropic", "claude-sonnet-4-5")
    plain, read, written = (
        cost_of(claude, Usage(1000, 0, cached_input_tokens=cached, cache_write_tokens=writes)).micro_usd
        for cached, writes in ((0, 0), (1000, 0), (0, 1000))
    )
    assert (plain, read, written) == (3000, 300, 3750)


def test_more_cached_than_asked_does_not_fail() -> None:
    assert (
        cost_of(ModelChoice("openai", "gpt-4o"), Usage(10, 10, cached_input_tokens=500), team=TEAM).micro_usd
        is not None
    )


def test_a_fraction_of_a_millionth_is_rounded_up() -> None:
    assert cost_of(KNOWN, Usage(1, 0)).micro_usd == 1


def test_an_estimate_bounds_the_cost() -> None:
    estimate = estimate_micro_usd(KNOWN, 1000, 500)
    real = cost_of(KNOWN, Usage(1000, 400, cached_input_tokens=300)).micro_usd
    assert estimate is not None
    assert real is not None
    assert real < estimate
    assert estimate_micro_usd(ELSEWHERE, 1000, 500) is None
