"""What was measured, summed up: medians and 95th percentiles, computed by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Aggregate, Count, FloatField, Max, Min, Q
from django.utils import timezone

from sandboxes.catalogue.keys import PROVIDERS
from sandboxes.catalogue.models import ProviderMeasurement
from sandboxes.vendors import TITLES

Operation, Source = ProviderMeasurement.Operation, ProviderMeasurement.Source
WINDOW = timedelta(days=90)
"""Older measurements say little about a provider of today."""
REAL = (Source.SESSION, Source.BENCH)


class Percentile(Aggregate):
    """Interpolated between neighbours, like `runs.bench.stats.percentile`. PostgreSQL only."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: str, share: float, **extra: Any) -> None:
        super().__init__(expression, share=float(share), **extra)


@dataclass(frozen=True, slots=True)
class Summary:
    """One operation at one provider from one place. `p50_ms` and `p95_ms` are of the `n` that succeeded, None for none."""

    provider: str
    operation: str
    source: str
    region: str
    measured_from: str
    n: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    first_at: datetime
    last_at: datetime

    @property
    def title(self) -> str:
        return PROVIDERS.get(self.provider, TITLES.get(self.provider, self.provider))

    @property
    def operation_title(self) -> str:
        return Operation(self.operation).label

    @property
    def source_title(self) -> str:
        return Source(self.source).label


def summaries(sources: Sequence[str] = REAL) -> list[Summary]:
    """Of the last 90 days, in the order of operations and providers. Real figures and those against test servers are
    never in one row: the source is part of what they are grouped by."""
    since = timezone.now() - WINDOW
    worked = Q(error="")
    groups = (
        ProviderMeasurement.objects.filter(source__in=sources, at__gte=since)
        .order_by()
        .values("provider", "operation", "source", "region", "measured_from")
        .annotate(
            n=Count("pk", filter=worked),
            failed=Count("pk", filter=~worked),
            p50_ms=Percentile("ms", 0.5, filter=worked),
            p95_ms=Percentile("ms", 0.95, filter=worked),
            first_at=Min("at"),
            last_at=Max("at"),
        )
    )
    operations, names = list(Operation.values), [*PROVIDERS]
    return sorted(
        (Summary(**group) for group in groups),
        key=lambda each: (
            operations.index(each.operation),
            names.index(each.provider) if each.provider in names else len(names),
            each.provider,
            each.region,
            each.source,
            each.measured_from,
        ),
    )
