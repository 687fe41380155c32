"""Quantities for people: money, counts, sizes, times."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone

from runs.models import Session, SessionMeter

register = template.Library()

KILO = 1000
SIZES = ("B", "KB", "MB", "GB", "TB")


@register.filter
def size(size_bytes: int | None) -> str:
    """Decimal units, as disks and files are sold: 1 KB is 1,000 bytes."""
    if size_bytes is None:
        return ""
    value = float(size_bytes)
    for unit in SIZES:
        if value < KILO or unit == SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= KILO
    raise AssertionError("the last unit takes everything")


@register.filter
def count(number: int | None) -> str:
    """1,234 as it is; from ten thousand on with k and M."""
    if number is None:
        return ""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / KILO:.0f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


@register.filter
def usd(micro_usd: int | None) -> str:
    if micro_usd is None:
        return "unknown"
    dollars = micro_usd / 1_000_000
    return f"${dollars:.2f}" if dollars >= 1 or not micro_usd else f"${dollars:.4f}"


@register.filter
def share(part: float) -> str:
    """A share from 0 to 1 in per cent."""
    return f"{part:.0%}"


@register.filter
def cost(meter: SessionMeter) -> str:
    """What the session has cost, and never a guess: calls without a known price make it a lower bound or unknown."""
    if not meter.calls_without_price:
        return usd(meter.cost_micro_usd)
    return f"≥ {usd(meter.cost_micro_usd)}" if meter.cost_micro_usd else "unknown"


@register.filter
def seconds(value_s: float | None) -> str:
    """3.2 s, 47 s, 3 min 20 s, 2 h 5 min."""
    if value_s is None:
        return ""
    if value_s < 10:
        return f"{value_s:.1f} s"
    whole = round(value_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.filter
def duration(session: Session) -> str:
    """From the start to the end, or until now."""
    until = session.finished_at or timezone.now()
    return seconds(max(0.0, (until - session.created_at).total_seconds()))


@register.filter
def ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    past_s = (timezone.now() - moment).total_seconds()
    if past_s < 60:
        return "just now"
    if past_s < 3600:
        return f"{int(past_s // 60)} min ago"
    return f"{int(past_s // 3600)} h ago" if past_s < 86_400 else f"{moment:%Y-%m-%d}"
