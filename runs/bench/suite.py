"""Suites: measurements with their targets declared beforehand, found by name and run one after the other.

    STEPS = suite("steps", "What a step costs beside the model.")

    @STEPS.measurement(Target("step p50", "ms", at_most=25))
    def overhead(bench: Bench) -> None:
        bench.record("step p50", p50(durations_ms), n=len(durations_ms))

Targets are declared and not made by the measurement, so that one which breaks still shows the bars that it owes.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec

from runs.bench.bars import Bar, Target

PACKAGES = ("runs.bench.suites", "rlmweb.bench.suites")
"""Where suites live. What measures a whole installation from outside belongs to the wiring."""


class BenchError(ValueError):
    """The benchmark cannot be run as asked; the message says what to change."""


class CannotMeasure(Exception):
    """Raised by a measurement that lacks something. The message becomes the note of its bars."""


class Bench:
    """What a measurement gets: how thorough to be, and where to put its results."""

    def __init__(self, targets: tuple[Target, ...], *, quick: bool, say: Callable[[str], None]) -> None:
        self.quick = quick
        self.say = say
        self._targets = {target.name: target for target in targets}
        self._bars: dict[str, Bar] = {}

    def rounds(self, thorough: int, quick: int) -> int:
        return quick if self.quick else thorough

    def record(self, name: str, value: float, *, reference: float | None = None, n: int = 1, note: str = "") -> Bar:
        return self._keep(name, self._target(name).measured(value, reference=reference, n=n, note=note))

    def miss(self, name: str, why: str) -> Bar:
        """This bar cannot be measured, the others may."""
        return self._keep(name, self._target(name).not_measured(why))

    def bars(self, why_missing: str) -> list[Bar]:
        """All declared bars in their order; those without a result carry the reason."""
        return [self._bars.get(name) or target.not_measured(why_missing) for name, target in self._targets.items()]

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            raise BenchError(f"The measurement did not declare {name!r}. Declared: {', '.join(self._targets)}.")
        return self._targets[name]

    def _keep(self, name: str, bar: Bar) -> Bar:
        if name in self._bars:
            raise BenchError(f"{name!r} was recorded twice.")
        self._bars[name] = bar
        return bar


@dataclass(frozen=True)
class Measurement:
    name: str
    targets: tuple[Target, ...]
    measure: Callable[[Bench], None]

    def wanted(self, only: str) -> bool:
        """Does this name, or a part of it, ask for this measurement or for one of its bars?"""
        return any(only.lower() in name.lower() for name in (self.name, *(target.name for target in self.targets)))


@dataclass
class Suite:
    name: str
    title: str
    measurements: list[Measurement] = field(default_factory=list)

    def measurement(self, *targets: Target) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
        """Registers a function that measures these targets, under its own name."""
        names = [target.name for target in targets]
        known = {target.name for measurement in self.measurements for target in measurement.targets}
        if not targets or len(set(names)) < len(names) or known.intersection(names):
            raise BenchError(f"A measurement of {self.name!r} needs targets with names of their own, not {names}.")

        def register(measure: Callable[[Bench], None]) -> Callable[[Bench], None]:
            self.measurements.append(Measurement(measure.__name__, targets, measure))
            return measure

        return register

    def chosen(self, only: str = "") -> list[Measurement]:
        """Raises `BenchError` when nothing has that name."""
        chosen = [measurement for measurement in self.measurements if measurement.wanted(only)]
        if not chosen:
            names = ", ".join(measurement.name for measurement in self.measurements)
            raise BenchError(f"The suite {self.name!r} measures nothing named {only!r}. It has: {names}.")
        return chosen


_suites: dict[str, Suite] = {}


def suite(name: str, title: str) -> Suite:
    """A new suite, known by its name from now on."""
    if name in _suites:
        raise BenchError(f"There are two suites named {name!r}.")
    _suites[name] = Suite(name, title)
    return _suites[name]


def suite_names() -> list[str]:
    """Names of all suites; none of them is imported for that."""
    return sorted(
        module.name for package in _packages() for module in pkgutil.iter_modules(package) if module.name[0] != "_"
    )


def find_suite(name: str) -> Suite:
    """Imports the suite's module. Raises `BenchError` when there is none."""
    for package in PACKAGES:
        if name in suite_names() and _spec(f"{package}.{name}") is not None:
            importlib.import_module(f"{package}.{name}")
    if name not in _suites:
        raise BenchError(f"There is no suite named {name!r}. Choose one of: {', '.join(suite_names())}.")
    return _suites[name]


def _packages() -> Iterator[list[str]]:
    for package in PACKAGES:
        spec = _spec(package)
        if spec is not None and spec.submodule_search_locations is not None:
            yield list(spec.submodule_search_locations)


def _spec(module: str) -> ModuleSpec | None:
    """None also where the package around it is missing."""
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
