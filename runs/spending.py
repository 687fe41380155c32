"""What a session spent and when: by step for the table, along its time for the chart. Inherited spending stands apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum
from django.utils import timezone

from rlmweb.figures import base_layout, plain_figure
from runs.models import LmCall, Session

HEIGHT_PX = 360
MAX_POINTS = 2_000
SHOWN_STEPS = 500


@dataclass(frozen=True, slots=True)
class StepSpending:
    """`unpriced`: calls whose price is not known, so that the cost is at least this. `seconds`: from its first call to
    the end of its last."""

    node: int
    step: int
    inherited: bool
    calls: int
    tokens: int
    cost_micro_usd: int
    unpriced: int
    seconds: float | None


def spending_by_step(session: Session) -> list[StepSpending]:
    """The steps that asked a model, in the order in which they began; the first `SHOWN_STEPS` of them."""
    rows = (
        LmCall.objects.filter(session=session)
        .values("step__node__number", "step__number", "inherited")
        .annotate(
            calls=Count("pk"),
            read=Sum("input_tokens"),
            written=Sum("output_tokens"),
            cost=Sum("cost_micro_usd"),
            unpriced=Count("pk", filter=Q(status=LmCall.Status.FINISHED, cost_micro_usd=None)),
            begun=Min("started_at"),
            ended=Max("finished_at"),
        )
        .order_by("begun", "step__node__number", "step__number")[:SHOWN_STEPS]
    )
    return [
        StepSpending(
            node=row["step__node__number"],
            step=row["step__number"],
            inherited=row["inherited"],
            calls=row["calls"],
            tokens=(row["read"] or 0) + (row["written"] or 0),
            cost_micro_usd=row["cost"] or 0,
            unpriced=row["unpriced"],
            seconds=(row["ended"] - row["begun"]).total_seconds() if row["ended"] is not None else None,
        )
        for row in rows
    ]


def own_calls(session: Session) -> QuerySet[LmCall]:
    """Calls that this session made and that came back, as they did."""
    return LmCall.objects.filter(session=session, inherited=False, finished_at__isnull=False).order_by("finished_at")


def spending_figure(session: Session) -> dict[str, Any]:
    """Cost and tokens so far along the session's own time, above each other."""
    from plotly.subplots import make_subplots  # takes a second, and few requests need it

    calls = list(
        own_calls(session).values_list("finished_at", "cost_micro_usd", "input_tokens", "output_tokens").iterator()
    )
    seconds = [0.0, *(_since(session.created_at, call[0] or session.created_at) for call in calls)]
    dollars = [0.0, *(total / 1_000_000 for total in accumulate(call[1] or 0 for call in calls))]
    tokens = [0, *accumulate((call[2] or 0) + (call[3] or 0) for call in calls)]
    # To the end of the session: what the last call added is seen, and so is the time after it.
    seconds.append(max(seconds[-1], _since(session.created_at, session.finished_at or timezone.now())))
    dollars.append(dollars[-1])
    tokens.append(tokens[-1])
    kept = _thinned(len(seconds))
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    figure.update_layout(base_layout("Cost and tokens along the time of the session", HEIGHT_PX))
    for row, name, values, shown, colour in (
        (1, "cost", dollars, "$%{y:.4f} after %{x:.1f} s", "--accent"),
        (2, "tokens", tokens, "%{y:,} tokens after %{x:.1f} s", "--running"),
    ):
        figure.add_scatter(
            row=row,
            col=1,
            x=[seconds[n] for n in kept],
            y=[values[n] for n in kept],
            name=name,
            mode="lines",
            line={"shape": "hv", "width": 2},
            hovertemplate=f"{shown}<extra></extra>",
            meta={"colour": colour},
        )
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="US dollars", tickprefix="$", row=1)
    figure.update_yaxes(title="tokens", row=2)
    figure.update_xaxes(title="seconds since the start", row=2)
    return plain_figure(figure)


def figure_version(session: Session) -> str:
    """Another one whenever the figure is."""
    known = own_calls(session).aggregate(calls=Count("pk"), newest=Max(F("number")))
    return f"{known['calls']}-{known['newest'] or 0}"


def _since(start: datetime, end: datetime) -> float:
    return round(max(0.0, (end - start).total_seconds()), 3)


def _thinned(count: int) -> list[int]:
    """Places of at most `MAX_POINTS` points, evenly, with the last."""
    stride = -(-count // MAX_POINTS)
    return [*range(0, count - 1, stride), count - 1]
