"""The shares per step as the coordinates of a drawing: the page draws them without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runs.replay.rollouts.statistics import Drop, StepOutcome

STEP_PX = 72
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 44, 16, 12, 34
HEIGHT_PX = 220
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Point:
    outcome: StepOutcome
    x: float
    y: float | None
    low_y: float
    high_y: float


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    drop: bool
    """The largest."""


@dataclass(frozen=True, slots=True)
class Chart:
    width: float
    height: float
    points: list[Point]
    lines: list[Line]
    grid: list[tuple[float, str]]
    """(y, label) of each line of the grid."""
    left: float = LEFT_PX
    right: float = 0.0
    bottom: float = HEIGHT_PX - BOTTOM_PX


def chart_of(outcomes: Sequence[StepOutcome], drop: Drop | None) -> Chart:
    width = LEFT_PX + RIGHT_PX + STEP_PX * max(1, len(outcomes))
    points = [_point(outcome, LEFT_PX + STEP_PX * (n + 0.5)) for n, outcome in enumerate(outcomes)]
    known = [(point.outcome.step, point.x, point.y) for point in points if point.y is not None]
    place = (drop.before, drop.after) if drop is not None else None
    lines = [Line(x1, y1, x2, y2, (a, b) == place) for (a, x1, y1), (b, x2, y2) in pairwise(known)]
    grid = [(_y(share), f"{share:.0%}") for share in GRID]
    return Chart(width, HEIGHT_PX, points, lines, grid, right=width - RIGHT_PX)


def _point(outcome: StepOutcome, x: float) -> Point:
    low, high = outcome.interval
    share = outcome.share
    return Point(outcome, x, None if share is None else _y(share), _y(low), _y(high))


def _y(share: float) -> float:
    return round(TOP_PX + (1 - share) * (HEIGHT_PX - TOP_PX - BOTTOM_PX), 1)
