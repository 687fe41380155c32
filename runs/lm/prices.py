"""What a call costs, in millionths of a US dollar, from the tokens that the API itself counted.

In this order: what the endpoint reports for the call, the dated table of public prices (package genai-prices, offline),
the prices that the team entered for its endpoint, and else unknown, which is never shown as zero.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from runs.lm.base import ModelChoice, Usage

MICRO = 1_000_000
DEFAULT_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""Where a choice without a base URL goes. Prices go by address: the same name elsewhere has another price."""


@dataclass(frozen=True, slots=True)
class Cost:
    """`micro_usd` is None when the price is unknown.

    `source`: `reported`, `table <date>`, `team`, `local`, `scripted` or `unknown`.
    """

    micro_usd: int | None
    source: str


UNKNOWN = Cost(None, "unknown")
FREE = {"embedded": Cost(0, "local"), "scripted": Cost(0, "scripted")}


@dataclass(frozen=True, slots=True)
class TeamPrices:
    """US dollars for a million tokens, as stored with a team's key."""

    input_usd_per_million: Decimal | None = None
    output_usd_per_million: Decimal | None = None


def cost_of(choice: ModelChoice, usage: Usage, *, team: TeamPrices | None = None) -> Cost:
    """The cost of one call that is over."""
    if choice.api in FREE:
        return FREE[choice.api]
    if usage.reported_cost_usd is not None:
        return Cost(_micro(Decimal(repr(usage.reported_cost_usd))), "reported")
    if usage.input_tokens is None or usage.output_tokens is None:
        return UNKNOWN
    usd = _table_usd(choice, usage)
    if usd is not None:
        return Cost(_micro(usd), f"table {table_date()}")
    usd = _team_usd(usage.input_tokens, usage.output_tokens, team)
    return UNKNOWN if usd is None else Cost(_micro(usd), "team")


def estimate_micro_usd(
    choice: ModelChoice, input_tokens: int, max_output_tokens: int, *, team: TeamPrices | None = None
) -> int | None:
    """The most that a call can cost, to be reserved before it is made; None when no price is known.

    Nothing is taken to come from a cache. An endpoint that reports costs itself is estimated from the table.
    """
    return cost_of(choice, Usage(input_tokens, max_output_tokens), team=team).micro_usd


def table_date() -> str:
    """The newest day on which a price of the table began to hold: the table is at least that new."""
    return _table_date(datetime.datetime.now(datetime.UTC).date()).isoformat()


def table_version() -> str:
    """Name and version of the table, for people."""
    return f"genai-prices {version('genai-prices')}"


def _table_usd(choice: ModelChoice, usage: Usage) -> Decimal | None:
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    url = choice.base_url or DEFAULT_URLS[choice.api]
    try:
        price: Decimal = genai_prices.calc_price(tokens, choice.model, provider_api_url=url).total_price
    except (LookupError, ValueError):
        # The address or the model is not in the table, or the counts contradict each other (more cached than asked).
        return None
    return price


def _team_usd(input_tokens: int, output_tokens: int, team: TeamPrices | None) -> Decimal | None:
    if team is None or team.input_usd_per_million is None or team.output_usd_per_million is None:
        return None
    usd = input_tokens * team.input_usd_per_million + output_tokens * team.output_usd_per_million
    return usd / MICRO


def _micro(usd: Decimal) -> int:
    """Rounded up: a budget must not be overspent by rounding."""
    return math.ceil(usd * MICRO)


@functools.cache
def _table_date(today: datetime.date) -> datetime.date:
    from genai_prices import data

    dates = [found for provider in data.providers for model in provider.models for found in _start_dates(model.prices)]
    return max(found for found in dates if found <= today)


def _start_dates(prices: Any) -> Iterator[datetime.date]:
    for entry in prices if isinstance(prices, list) else ():
        found = getattr(getattr(entry, "constraint", None), "start_date", None)
        if isinstance(found, datetime.date):
            yield found
