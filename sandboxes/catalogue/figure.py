"""The figure of what was measured, for Plotly: a point for the median, a line up to the 95th percentile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlmweb.figures import base_layout, plain_figure
from sandboxes.catalogue.summaries import Operation, Source, Summary

HEIGHT_PX = 380
COLOURS = ("--accent", "--finished", "--limited", "--waiting", "--failed", "--running", "--stopped", "--text")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x")
"""Shape as well as colour: not everybody tells eight colours apart."""


def measured_figure(measured: Sequence[Summary]) -> dict[str, Any]:
    """Milliseconds on a logarithmic axis, one column an operation, one trace for each provider, region and source."""
    from plotly.graph_objects import Figure  # takes a second, and few requests need it

    figure = Figure()
    figure.update_layout(base_layout("Measured at the providers: median and 95th percentile by operation", HEIGHT_PX))
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2}, scattermode="group", scattergap=0.5)
    names = list(dict.fromkeys(each.provider for each in measured))
    for name, rows in _traces(measured).items():
        number = names.index(rows[0].provider)
        figure.add_scatter(
            x=[row.operation_title for row in rows],
            y=[row.p50_ms for row in rows],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [(row.p95_ms or 0) - (row.p50_ms or 0) for row in rows],
                "arrayminus": [0] * len(rows),
            },
            text=[f"p95 {row.p95_ms:,.1f} ms, n {row.n}" for row in rows],
            name=name,
            mode="markers",
            offsetgroup=name,
            marker={"size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            hovertemplate="%{fullData.name}: %{x}<br>p50 %{y:,.1f} ms, %{text}<extra></extra>",
            meta={"colour": COLOURS[number % len(COLOURS)]},
        )
    figure.update_yaxes(type="log", title="milliseconds")
    present = {row.operation for row in measured}
    figure.update_xaxes(
        categoryorder="array", categoryarray=[each.label for each in Operation if each.value in present]
    )
    return plain_figure(figure)


def figure_version(measured: Sequence[Summary]) -> str:
    """Another one whenever the figure is."""
    newest = max((row.last_at for row in measured), default=None)
    return f"{sum(row.n for row in measured)}-{newest.timestamp() if newest else 0:.0f}"


def _traces(measured: Sequence[Summary]) -> dict[str, list[Summary]]:
    found: dict[str, list[Summary]] = {}
    for row in measured:
        if row.p50_ms is None:
            continue
        parts = [row.region, "benchmark" if row.source == Source.BENCH else "", row.measured_from]
        name = ", ".join([row.title, *(part for part in parts if part)])
        found.setdefault(name, []).append(row)
    return found
