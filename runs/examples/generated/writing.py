"""Streams records to a file until it is large enough and its question has one clear answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from runs.examples.answers import Expected
from runs.examples.types import NoQuestionFits, Order

Question = tuple[str, Expected]

_BATCH_BYTES = 256 * 1024
_ATTEMPTS = 20
_EXTRA_SHARE = 0.05
_EXTRA_BYTES = 500
"""To break a tie a context may grow by this share and these bytes; then it is begun again with other records."""


class Records(Protocol):
    """Records of one context, and what was counted in those that were taken."""

    def lines(self) -> Iterator[str]:
        """ASCII, one line each, with its newline. A record counts as soon as it is taken."""


_Made = TypeVar("_Made", bound=Records)


def write_records(
    order: Order,
    size_bytes: int,
    make: Callable[[str], _Made],
    ask: Callable[[_Made, random.Random], Question | None],
    header: str = "",
) -> tuple[Question, _Made]:
    """Write the records that `make(seed)` makes to the order's path, and ask about them.

    `ask` returns None where two answers are tied, which is frequent in small contexts only.
    """
    for attempt in range(_ATTEMPTS):
        made = make(f"{order.seed}.{attempt}")
        question = _write(order, size_bytes, made, ask, header)
        if question is not None:
            return question, made
    raise NoQuestionFits(order.question_kind)


def leader(counts: Counter[str]) -> str | None:
    """The name with the highest count, None where two share it."""
    first_two = counts.most_common(2)
    if not first_two or (len(first_two) == 2 and first_two[0][1] == first_two[1][1]):
        return None
    return first_two[0][0]


def leader_of_one(counters: dict[str, Counter[str]], rng: random.Random) -> tuple[str, str] | tuple[None, None]:
    """A seeded choice among the counters that have a leader: its key and the leader."""
    for key in rng.sample(sorted(counters), len(counters)):
        first = leader(counters[key])
        if first is not None:
            return key, first
    return None, None


def _write(
    order: Order,
    size_bytes: int,
    made: _Made,
    ask: Callable[[_Made, random.Random], Question | None],
    header: str,
) -> Question | None:
    records = made.lines()
    with order.path.open("wb") as file:
        written = file.write(header.encode("ascii"))
        while written < size_bytes:
            written += file.write(_batch(records, min(size_bytes - written, _BATCH_BYTES)))
        most = written + int(size_bytes * _EXTRA_SHARE) + _EXTRA_BYTES
        while True:
            # The same choices each time: only the counts behind them have changed.
            question = ask(made, random.Random(f"{order.question_kind} {order.seed}"))
            if question is not None or written > most:
                return question
            written += file.write(next(records).encode("ascii"))


def _batch(records: Iterator[str], size_bytes: int) -> bytes:
    lines: list[str] = []
    length = 0
    while length < size_bytes:
        line = next(records)
        lines.append(line)
        length += len(line)
    return "".join(lines).encode("ascii")
