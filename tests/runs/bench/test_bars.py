from __future__ import annotations

import math

import pytest

from runs.bench.bars import Target


def test_a_value_is_held_against_its_limits() -> None:
    target = Target("step p50", "ms", at_most=25, at_least=1)

    assert target.measured(25, n=100).met
    assert not target.measured(25.1).met
    assert not target.measured(0.9).met
    assert target.goal == "<= 25 ms and >= 1 ms"


def test_a_ratio_is_value_to_reference() -> None:
    bar = Target("cold start", "ms", ratio_at_most=2.5).measured(50, reference=20)

    assert (bar.ratio, bar.met, bar.goal) == (2.5, True, "<= 2.5 x reference")
    assert not Target("cold start", "ms", ratio_at_most=2.5).measured(51, reference=20).met


@pytest.mark.parametrize("reference", [None, 0.0])
def test_a_ratio_without_a_reference_is_not_met(reference: float | None) -> None:
    bar = Target("cold start", "ms", ratio_at_most=2.5).measured(50, reference=reference)

    assert (bar.met, bar.value) == (False, None)
    assert "no reference" in bar.note


def test_a_target_without_a_limit_is_met_when_it_was_measured() -> None:
    target = Target("accuracy", "%")

    assert (target.goal, target.measured(3).met) == ("measured", True)
    assert not target.not_measured("no weights").met


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_was_not_measured(value: float) -> None:
    bar = Target("accuracy", "%").measured(value)

    assert (bar.value, bar.met, bar.n) == (None, False, 0)
    assert bar.note.startswith("not measured: ")
