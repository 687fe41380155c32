"""The shares per step as a Plotly figure. Colours are the page's: `meta` names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlmweb.figures import base_layout, plain_figure
from runs.replay.rollouts.statistics import Drop, StepOutcome

HEIGHT_PX = 300


def figure_of(outcomes: Sequence[StepOutcome], drop: Drop | None) -> dict[str, Any]:
    """Points with their intervals, joined in order; the largest drop as a line of its own."""
    from plotly import graph_objects as go  # takes a second, and few requests need it

    known = [(outcome, outcome.share) for outcome in outcomes if outcome.share is not None]
    places = [_place(outcome.step) for outcome, _ in known]
    shares = [share for _, share in known]
    points = go.Scatter(
        x=places,
        y=shares,
        mode="lines+markers",
        name="right branches",
        marker={"size": 11},
        line={"width": 2},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [outcome.interval[1] - share for outcome, share in known],
            "arrayminus": [share - outcome.interval[0] for outcome, share in known],
            "thickness": 2,
            "width": 6,
        },
        customdata=[outcome.step for outcome, _ in known],
        text=[_words(outcome) for outcome, _ in known],
        hovertemplate="%{text}<extra></extra>",
        meta={"colour": "--accent"},
    )
    figure = go.Figure([points, *_fall(go, known, drop)], base_layout("Share of right branches by step", HEIGHT_PX))
    figure.update_yaxes(range=[-0.04, 1.04], tickformat=".0%", dtick=0.25)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=[_place(each.step) for each in outcomes])
    return plain_figure(figure)


def _fall(go: Any, known: list[tuple[StepOutcome, float]], drop: Drop | None) -> list[Any]:
    if drop is None:
        return []
    ends = [(outcome.step, share) for outcome, share in known if outcome.step in (drop.before, drop.after)]
    return [
        go.Scatter(
            x=[_place(step) for step, _ in ends],
            y=[share for _, share in ends],
            mode="lines",
            name="the largest drop",
            line={"width": 4},
            hoverinfo="skip",
            meta={"colour": "--failed"},
        )
    ]


def _place(step: int) -> str:
    return f"step {step}" if step else "start"


def _words(outcome: StepOutcome) -> str:
    low, high = outcome.interval
    return f"{_place(outcome.step)}: {outcome.right} of {outcome.scored} right<br>95 % interval {low:.0%} to {high:.0%}"
