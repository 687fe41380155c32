"""Shares with intervals, and the drop."""

from __future__ import annotations

import pytest

from runs.replay.rollouts.statistics import StepOutcome, largest_drop, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Published values: Brown, Cai and DasGupta 2001; checked against R's binom::binom.wilson.
        (0, 10, 0.0, 0.27753),
        (5, 10, 0.23659, 0.76341),
        (10, 10, 0.72247, 1.0),
        (1, 1, 0.20654, 1.0),
        (8, 64, 0.06474, 0.22775),
    ],
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=2e-5)


def test_nothing_is_known_without_branches() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def outcome(step: int, right: int, scored: int) -> StepOutcome:
    return StepOutcome(step, scored, scored, right, 0, 0, None)


def test_the_largest_drop_is_found_and_said_to_be_certain_only_when_intervals_are_apart() -> None:
    drop = largest_drop([outcome(1, 30, 32), outcome(2, 29, 32), outcome(3, 4, 32), outcome(4, 3, 32)])
    assert drop is not None
    assert (drop.before, drop.after, drop.certain) == (2, 3, True)
    small = largest_drop([outcome(1, 4, 4), outcome(2, 2, 4)])
    assert small is not None
    assert small.certain is False


def test_steps_without_scores_are_passed_over() -> None:
    drop = largest_drop([outcome(1, 8, 8), outcome(2, 0, 0), outcome(3, 0, 8)])
    assert drop is not None
    assert (drop.before, drop.after) == (1, 3)
    assert largest_drop([outcome(1, 1, 8), outcome(2, 8, 8)]) is None
