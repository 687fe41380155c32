"""The catalogue for machines and for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rlmweb.csv_cells import neutral
from sandboxes.catalogue.entries import Entry
from sandboxes.catalogue.summaries import Summary

CLAIM_FIELDS = (
    "provider", "capability_key", "kind", "claim_text", "support", "value", "status", "as_of", "source", "note", "by",
)  # fmt: skip
MEASURED_FIELDS = (
    "provider", "operation", "source", "region", "measured_from", "n", "failed", "p50_ms", "p95_ms", "first_at", "last_at",
)  # fmt: skip


def to_plain(rows: Iterable[Entry], measured: Iterable[Summary]) -> dict[str, Any]:
    """As JSON can hold it: dates in ISO 8601, times in milliseconds."""
    return {
        "claims": [{name: _text(getattr(row, name)) for name in CLAIM_FIELDS} for row in rows],
        "measurements": [
            {
                name: value if isinstance(value, int | float | None) else _text(value)
                for name, value in asdict(each).items()
            }
            for each in measured
        ],
    }


def to_csv(rows: Iterable[Entry]) -> str:
    """The claims only. No cell begins like a formula."""
    return _table(CLAIM_FIELDS, rows)


def measured_to_csv(measured: Iterable[Summary]) -> str:
    return _table(MEASURED_FIELDS, measured)


def _table(fields: tuple[str, ...], rows: Iterable[Any]) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(fields)
    table.writerows([neutral(_text(getattr(row, name))) for name in fields] for row in rows)
    return out.getvalue()


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else "" if value is None else str(value)
