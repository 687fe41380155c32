"""What the sandboxes of a session took: time by provider and by type of GPU, and what that is estimated to cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from sandboxes.models import SandboxRecord
from sandboxes.vendors import TITLES

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class SandboxSpending:
    """`gpu_s`: seconds of all GPUs of that type together. `usd` None: the price of at least one is not known."""

    provider: str
    gpu: str
    sandboxes: int
    seconds: float
    gpu_s: float
    usd: Decimal | None


def sandbox_spending(session_uuid: UUID) -> list[SandboxSpending]:
    """By provider and type of GPU, in the order of their names. Sandboxes beside the nodes count, too."""
    found: dict[tuple[str, str], list[SandboxRecord]] = {}
    for row in SandboxRecord.objects.filter(session_uuid=session_uuid).iterator():
        found.setdefault((row.provider, row.gpu), []).append(row)
    return [_of(TITLES.get(provider, provider), gpu, rows) for (provider, gpu), rows in sorted(found.items())]


def _of(provider: str, gpu: str, rows: Iterable[SandboxRecord]) -> SandboxSpending:
    seconds = gpu_s = 0.0
    usd: Decimal | None = Decimal(0)
    count = 0
    for row in rows:
        took_s = ((row.ended_at or timezone.now()) - row.created_at).total_seconds()
        count, seconds, gpu_s = count + 1, seconds + took_s, gpu_s + took_s * row.gpu_count
        if usd is not None:
            usd = None if row.usd_per_hour is None else usd + row.usd_per_hour * Decimal(took_s) / HOUR_S
    return SandboxSpending(provider, gpu, count, seconds, gpu_s, usd)
