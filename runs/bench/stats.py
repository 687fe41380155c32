"""Percentiles, and timing a subject beside its reference."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated between neighbours. Raises on no values."""
    if not values:
        raise ValueError("There are no values to take a percentile of.")
    if not 0 <= percent <= 100:
        raise ValueError(f"A percentile lies between 0 and 100, not at {percent}.")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def p50(values: Sequence[float]) -> float:
    return percentile(values, 50)


def p95(values: Sequence[float]) -> float:
    return percentile(values, 95)


@dataclass(frozen=True)
class Paired:
    """Durations of a subject and its reference, measured alternately in one run; in milliseconds, in order."""

    subject_ms: tuple[float, ...]
    reference_ms: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.subject_ms)

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return p50(self.subject_ms) / p50(self.reference_ms)

    @property
    def difference_ms(self) -> float:
        """The median of the differences of neighbours: what the subject costs above the reference."""
        return p50([a - b for a, b in zip(self.subject_ms, self.reference_ms, strict=True)])


def paired(
    subject: Callable[[], object],
    reference: Callable[[], object],
    *,
    rounds: int,
    warm_up: int = 1,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Paired:
    """Run both in turns, so that what else the machine does falls on both alike.

    Who goes first changes from round to round: the second finds caches filled by the first. The rounds of the warm-up
    are not in the result.
    """
    subject_ms: list[float] = []
    reference_ms: list[float] = []
    for number in range(warm_up + rounds):
        pair = [(subject, subject_ms), (reference, reference_ms)]
        for call, durations in pair if number % 2 else reversed(pair):
            began_ns = clock_ns()
            call()
            durations.append((clock_ns() - began_ns) / 1e6)
    return Paired(tuple(subject_ms[warm_up:]), tuple(reference_ms[warm_up:]))
