"""Runs measurements one after the other. One that breaks costs its own bars and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runs.bench.bars import Bar
from runs.bench.suite import Bench, CannotMeasure, Measurement

_FORGOTTEN = "the measurement ended without it"


def run(measurements: Iterable[Measurement], *, quick: bool, say: Callable[[str], None]) -> list[Bar]:
    """All bars of these measurements, in their order. An interrupt ends the run; what is left counts as not measured."""
    bars: list[Bar] = []
    interrupted = False
    for measurement in measurements:
        bench = Bench(measurement.targets, quick=quick, say=say)
        why = "the run was interrupted"
        if not interrupted:
            say(f"{measurement.name} ...")
            try:
                why = _run_one(measurement, bench)
            except KeyboardInterrupt:
                interrupted = True
        bars += bench.bars(why)
    return bars


def _run_one(measurement: Measurement, bench: Bench) -> str:
    """Why bars that were not recorded are missing."""
    try:
        measurement.measure(bench)
    except CannotMeasure as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 - the other bars are still owed, and the reason is in the result
        return f"{type(error).__name__}: {error}"
    return _FORGOTTEN
