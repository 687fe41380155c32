"""Shares with their uncertainty, and the step at which the share of right branches falls most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

Z_95 = 1.959963984540054
RIGHT_FROM = 0.5
"""A branch counts as right from this score on."""


def wilson(right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a share (Wilson 1927): also sound for few branches and for shares near 0 and 1."""
    if n == 0:
        return 0.0, 1.0
    share = right / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Branches from the end of `step`. `scored` of them have a score; the others run, failed or could not be scored."""

    step: int
    branches: int
    scored: int
    right: int
    running: int
    failed: int
    mean_score: float | None

    @property
    def share(self) -> float | None:
        return self.right / self.scored if self.scored else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, of the share that is right."""
        return wilson(self.right, self.scored)


@dataclass(frozen=True, slots=True)
class Drop:
    """From `before` to `after` the share fell by `by`; `certain` when the two intervals do not overlap."""

    before: int
    after: int
    by: float
    certain: bool


def largest_drop(outcomes: Sequence[StepOutcome]) -> Drop | None:
    """None when the share falls nowhere."""
    known = [outcome for outcome in outcomes if outcome.share is not None]
    found: Drop | None = None
    for before, after in pairwise(known):
        by = (before.share or 0.0) - (after.share or 0.0)
        if by > 0 and (found is None or by > found.by):
            found = Drop(before.step, after.step, by, before.interval[0] > after.interval[1])
    return found
