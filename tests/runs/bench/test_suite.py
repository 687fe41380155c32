from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runs.bench import suite as suites
from runs.bench.bars import Target
from runs.bench.runner import run
from runs.bench.suite import Bench, BenchError, CannotMeasure, Suite, find_suite, suite_names

A, B, C = Target("bar a", "ms", at_most=1), Target("bar b", "ms"), Target("bar c", "ms")


@pytest.fixture
def three() -> Suite:
    """One measurement that works for one of its bars, one that breaks, one that lacks something."""
    suite = Suite("three", "Three measurements.")

    @suite.measurement(A, B)
    def works(bench: Bench) -> None:
        bench.record("bar a", 0.5, n=bench.rounds(100, 3))

    @suite.measurement(C)
    def breaks(bench: Bench) -> None:
        raise RuntimeError("no luck")

    @suite.measurement(Target("bar d", "ms"))
    def lacks(bench: Bench) -> None:
        raise CannotMeasure("there are no weights")

    return suite


def silent(text: str) -> None: ...


def test_every_declared_bar_is_in_the_result_with_its_reason(three: Suite) -> None:
    bars = run(three.chosen(), quick=False, say=silent)

    assert [(bar.name, bar.met, bar.note) for bar in bars] == [
        ("bar a", True, ""),
        ("bar b", False, "not measured: the measurement ended without it"),
        ("bar c", False, "not measured: RuntimeError: no luck"),
        ("bar d", False, "not measured: there are no weights"),
    ]


def test_quick_lowers_the_rounds(three: Suite) -> None:
    assert run(three.chosen("bar a"), quick=False, say=silent)[0].n == 100
    assert run(three.chosen("bar a"), quick=True, say=silent)[0].n == 3


def test_a_name_chooses_by_measurement_or_bar(three: Suite) -> None:
    assert [measurement.name for measurement in three.chosen("BREAK")] == ["breaks"]
    assert [measurement.name for measurement in three.chosen("bar b")] == ["works"]
    with pytest.raises(BenchError, match="It has: works, breaks, lacks"):
        three.chosen("weather")


def test_an_interrupt_keeps_what_was_measured() -> None:
    suite = Suite("stopped", "Stopped by Ctrl-C.")

    @suite.measurement(A, B)
    def stops(bench: Bench) -> None:
        bench.record("bar a", 0.5)
        raise KeyboardInterrupt

    @suite.measurement(C)
    def never_runs(bench: Bench) -> None:
        pytest.fail("The run went on after the interrupt.")

    bars = run(suite.chosen(), quick=False, say=silent)

    assert [bar.met for bar in bars] == [True, False, False]
    assert bars[2].note == "not measured: the run was interrupted"


def test_one_bar_may_be_missed_and_another_measured() -> None:
    bench = Bench((A, B), quick=False, say=silent)
    bench.miss("bar a", "no browser")
    bench.record("bar b", 2)

    assert [(bar.value, bar.note) for bar in bench.bars("")] == [(None, "not measured: no browser"), (2, "")]


def test_what_was_not_declared_or_is_recorded_twice_is_a_mistake() -> None:
    bench = Bench((A,), quick=False, say=silent)
    bench.record("bar a", 1)

    with pytest.raises(BenchError, match="recorded twice"):
        bench.record("bar a", 1)
    with pytest.raises(BenchError, match="did not declare 'bar b'"):
        bench.record("bar b", 1)


def test_names_of_bars_are_unique_in_a_suite() -> None:
    suite = Suite("twice", "The same name twice.")
    suite.measurement(A)(lambda bench: None)

    with pytest.raises(BenchError, match="names of their own"):
        suite.measurement(A)
    with pytest.raises(BenchError, match="names of their own"):
        suite.measurement(B, B)


def test_a_suite_is_found_by_the_name_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "benchsuites"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "weather.py").write_text("from runs.bench.suite import suite\nsuite('weather', 'Rain.')\n")
    (folder / "broken.py").write_text("raise RuntimeError('imported for nothing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(suites, "PACKAGES", ("benchsuites", "no.such.package"))
    monkeypatch.setattr(suites, "_suites", {})

    assert suite_names() == ["broken", "weather"]
    assert find_suite("weather").title == "Rain."
    with pytest.raises(BenchError, match="Choose one of: broken, weather"):
        find_suite("sunshine")
    for name in [name for name in sys.modules if name.startswith("benchsuites")]:
        del sys.modules[name]
