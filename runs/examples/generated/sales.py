"""A table of sales as CSV: filters, sums, means and rankings."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from runs.examples.answers import NameAnswer, NumberAnswer
from runs.examples.generated.writing import Question, leader_of_one, write_records
from runs.examples.types import Example, Order, Task

COUNTRIES = ("Austria", "Brazil", "Canada", "Denmark", "Egypt", "France", "Greece", "Hungary", "Japan", "Kenya")
PRODUCTS = ("anvil", "bellows", "chisel", "drill", "easel", "file", "gouge", "hammer", "jigsaw", "lathe", "mallet")
CHANNELS = ("shop", "web", "phone", "partner")
_FIRST_DAY = date(2024, 1, 1)
_DAYS = [(_FIRST_DAY + timedelta(days=n)).isoformat() for n in range(731)]
_HEADER = "order_id,date,country,product,channel,units,unit_price\n"
_SIZE_BYTES = 2_000_000


class Sales:
    """Rows, and what was sold in them. Money is counted in cents."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(f"sales rows {seed}")
        self.orders = 0
        self.channel_orders: Counter[str] = Counter()
        self.country_month_cents: Counter[tuple[str, str]] = Counter()
        self.country_product_units: dict[str, Counter[str]] = {country: Counter() for country in COUNTRIES}
        self.product_orders: Counter[str] = Counter()
        self.product_units: Counter[str] = Counter()
        self.most_units = 0

    def lines(self) -> Iterator[str]:
        rng = self._rng
        likely = rng.choices(COUNTRIES, k=60) + list(COUNTRIES)
        sold = rng.choices(PRODUCTS, k=60) + list(PRODUCTS)
        prices = {product: rng.randrange(400, 20_000) for product in PRODUCTS}
        number = 100_000
        while True:
            number += 1
            country, product, channel = rng.choice(likely), rng.choice(sold), rng.choice(CHANNELS)
            day, units = rng.choice(_DAYS), 1 + int(rng.expovariate(0.12))
            cents = prices[product] * rng.randrange(85, 101) // 100
            self._count(country, product, channel, day, units, cents)
            yield f"{number},{day},{country},{product},{channel},{units},{cents // 100}.{cents % 100:02}\n"

    def _count(self, country: str, product: str, channel: str, day: str, units: int, cents: int) -> None:
        self.orders += 1
        self.channel_orders[channel] += 1
        self.country_month_cents[country, day[:7]] += units * cents
        self.country_product_units[country][product] += units
        self.product_orders[product] += 1
        self.product_units[product] += units
        self.most_units = max(self.most_units, units)


def revenue(sales: Sales, rng: random.Random) -> Question | None:
    country, month = rng.choice(sorted(sales.country_month_cents))
    cents = sales.country_month_cents[country, month]
    question = (
        f"What was the revenue (units times unit_price, added up) of the orders from {country} in {month}? "
        "Answer with one number with two decimals."
    )
    year, number = month.split("-")
    return question, NumberAnswer(f"{cents // 100}.{cents % 100:02}", tolerance="0.01", mentioned=(year, number))


def channel_orders(sales: Sales, rng: random.Random) -> Question | None:
    channel = rng.choice(CHANNELS)
    question = f"How many orders came through the channel {channel}? Answer with one number."
    return question, NumberAnswer(str(sales.channel_orders[channel]))


def best_product(sales: Sales, rng: random.Random) -> Question | None:
    country, best = leader_of_one(sales.country_product_units, rng)
    if best is None:
        return None
    question = f"Of which product were the most units sold in {country}, over all orders? Answer with its name only."
    return question, NameAnswer(best, tuple(name for name in PRODUCTS if name != best))


def mean_units(sales: Sales, rng: random.Random) -> Question | None:
    product = rng.choice(PRODUCTS)
    orders = sales.product_orders[product]
    if not orders:
        return None
    question = f"How many units does an order of the product {product} have on average? Answer with two decimals."
    return question, NumberAnswer(f"{sales.product_units[product] / orders:.2f}", tolerance="0.011")


def largest_order(sales: Sales, rng: random.Random) -> Question | None:
    return "How many units does the order with the most units have?", NumberAnswer(str(sales.most_units))


_ASKS: dict[str, Callable[[Sales, random.Random], Question | None]] = {
    "revenue": revenue,
    "channel-orders": channel_orders,
    "best-product": best_product,
    "mean-units": mean_units,
    "largest-order": largest_order,
}


def build(order: Order) -> Task:
    size_bytes = order.size_bytes or _SIZE_BYTES
    (question, expected), sales = write_records(order, size_bytes, Sales, _ASKS[order.question_kind], _HEADER)
    return Task(question, expected, f"A made-up table of {sales.orders:,} orders as CSV.")


EXAMPLE = Example(
    slug="csv",
    title="A table of sales",
    summary="A made-up table of orders as CSV. Questions filter, add up and rank.",
    question="Of which product were the most units sold in Japan, over all orders?",
    question_kinds=tuple(_ASKS),
    builder=build,
    size_bytes_hint=_SIZE_BYTES,
    min_size_bytes=10_000,
    small_model_kinds=("revenue", "channel-orders", "largest-order"),
)
