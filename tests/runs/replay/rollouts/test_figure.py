"""The figure of a rollout: shares with their intervals in order, the largest drop marked, no colours of its own."""

from __future__ import annotations

import json

import pytest

from runs.replay.rollouts.figure import figure_of
from runs.replay.rollouts.statistics import StepOutcome, largest_drop


def outcome(step: int, right: int, scored: int) -> StepOutcome:
    return StepOutcome(step=step, branches=8, right=right, scored=scored, failed=0, running=0, mean_score=None)


def test_shares_stand_in_order_with_their_intervals_and_the_drop() -> None:
    outcomes = [outcome(0, 8, 8), outcome(2, 7, 8), outcome(5, 0, 0), outcome(9, 1, 8)]
    figure = figure_of(outcomes, largest_drop(outcomes))
    points, fall = figure["data"]
    assert points["x"] == ["start", "step 2", "step 9"], "a step without a score has no share"
    assert points["y"] == [1.0, 0.875, 0.125]
    assert points["customdata"] == [0, 2, 9]
    low, high = outcomes[1].interval
    assert points["error_y"]["array"][1] == pytest.approx(high - 0.875)
    assert points["error_y"]["arrayminus"][1] == pytest.approx(0.875 - low)
    assert (fall["x"], fall["y"]) == (["step 2", "step 9"], [0.875, 0.125])
    assert figure["layout"]["xaxis"]["categoryarray"] == ["start", "step 2", "step 5", "step 9"]
    assert "#" not in json.dumps(figure), "colours are the page's"


def test_without_any_score_there_is_a_figure_without_points() -> None:
    assert figure_of([outcome(1, 0, 0)], None)["data"][0]["x"] == []
