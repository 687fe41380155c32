"""Results as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runs.bench.bars import Bar

_COLUMNS = ("bar", "value", "reference", "ratio", "goal", "n", "met")
_NOTE_WIDTH = 96


def table(bars: Sequence[Bar]) -> str:
    """One line a bar, its note below it, and a count at the end."""
    rows = [_COLUMNS, *(_row(bar) for bar in bars)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [_line(rows[0], widths), _line(["-" * width for width in widths], widths)]
    for bar, row in zip(bars, rows[1:], strict=True):
        lines.append(_line(row, widths))
        lines += textwrap.wrap(bar.note, _NOTE_WIDTH, initial_indent="    ", subsequent_indent="    ")
    met = sum(bar.met for bar in bars)
    return "\n".join([*lines, "", f"{met} of {len(bars)} bars met."])


def as_json(bars: Iterable[Bar], machine: dict[str, Any]) -> dict[str, Any]:
    return {"bars": [asdict(bar) for bar in bars], "machine": machine}


def write_json(path: Path, bars: Iterable[Bar], machine: dict[str, Any]) -> None:
    path.write_text(json.dumps(as_json(bars, machine), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _row(bar: Bar) -> tuple[str, ...]:
    return (
        bar.name,
        _quantity(bar.value, bar.unit),
        _quantity(bar.reference, bar.unit),
        "-" if bar.ratio is None else f"{bar.ratio:.2f}",
        bar.goal,
        str(bar.n),
        "yes" if bar.met else "NO",
    )


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    # Four digits say enough, and large numbers keep all of theirs.
    shown = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{shown} {unit}".strip()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
