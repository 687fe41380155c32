from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.bench.stats import Paired, p50, p95, paired, percentile


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_middle_is_the_median_and_the_ends_are_the_ends(values: list[float]) -> None:
    assert p50(values) == pytest.approx(statistics.median(values))
    assert percentile(values, 0) == min(values)
    assert percentile(values, 100) == max(values)


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert p95([1, 2, 3, 4]) == pytest.approx(3.85)


def test_no_values_and_no_percentages_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        p50([])
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1], 101)


def test_subject_and_reference_run_in_turns_and_change_places() -> None:
    order: list[str] = []
    now_ns = 0

    def clock_ns() -> int:
        return now_ns

    def lasts(name: str, ms: int) -> None:
        nonlocal now_ns
        order.append(name)
        now_ns += ms * 1_000_000

    result = paired(lambda: lasts("s", 6), lambda: lasts("r", 2), rounds=3, warm_up=1, clock_ns=clock_ns)

    assert "".join(order) == "rs" + "sr" + "rs" + "sr"
    assert result == Paired((6, 6, 6), (2, 2, 2))
    assert (result.n, result.ratio, result.difference_ms) == (3, 3, 4)
