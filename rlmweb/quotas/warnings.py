"""People are told when use comes to the soft limit and to the whole of it: an audit entry now, and notices on pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from rlmweb.audit.record import record
from rlmweb.quotas.booking import Crossed, ends_at, starts_on
from rlmweb.quotas.models import Balance, Quota
from rlmweb.quotas.resources import Resource, resource_named
from rlmweb.quotas.scopes import Scope, ScopeKind


@dataclass(frozen=True, slots=True)
class Standing:
    """One quota and what is used of it now. `of_all`: used and reserved together, in percent of the limit."""

    quota: Quota
    resource: Resource
    used: int
    reserved: int
    resets_at: datetime | None

    @property
    def percent(self) -> int:
        total = self.used + self.reserved
        return 100 if not self.quota.limit else min(999, total * 100 // self.quota.limit)

    @property
    def is_full(self) -> bool:
        return self.used + self.reserved >= self.quota.limit

    @property
    def is_warned(self) -> bool:
        """A cap never fills up: it is asked for each session anew."""
        return self.resource.kind != "cap" and self.percent >= self.quota.soft_percent

    @property
    def sentence(self) -> str:
        total = self.resource.shown(self.used + self.reserved)
        if self.quota.scope_kind == ScopeKind.INSTALLATION:
            return f"{self.resource.title}: the installation has {'no' if self.is_full else 'little'} room left."
        said = f"{self.resource.title} ({self.quota.scope}): {total} of {self.resource.shown(self.quota.limit)}"
        ends = f" until {self.resets_at:%Y-%m-%d %H:%M} UTC" if self.resets_at is not None else ""
        return f"{said}{ends}. {self._fate()} {'now' if self.is_full else 'at the limit'}."

    def _fate(self) -> str:
        refused = {
            "sessions": "No session can be started",
            "exports": "Nothing can be exported",
            "storage_bytes": "No context can be stored",
        }
        if self.quota.resource in refused:
            return refused[self.quota.resource]
        waits = self.quota.on_exceed == Quota.OnExceed.PAUSE
        return "Sessions wait" if waits else "Sessions end with what they have"


def warn(crossed: Crossed) -> None:
    """Inside the transaction that came to the mark: once for each mark, quota and period, unless use goes back below."""
    record(
        "quota.warn",
        actor="system",
        object_type="quota",
        object_id=str(crossed.scope.uuid),
        team_uuid=crossed.scope.uuid if crossed.scope.kind in ("team", "organisation") else None,
        source="worker",
        details={
            "scope": crossed.scope.kind,
            "resource": crossed.resource,
            "period": crossed.period,
            "percent": crossed.percent,
            "limit": crossed.limit,
            "used": crossed.used,
        },
    )


def standings(scopes: Iterable[Scope], today: date | None = None) -> list[Standing]:
    """Every quota of these scopes with what is used of it now, the widest scope first."""
    day = today or timezone.now().date()
    wanted = list(scopes)
    quotas = list(quotas_of(wanted))
    if not quotas:
        return []
    balances = {
        _key(row.scope_kind, row.scope_uuid, row.resource, row.period): row
        for row in Balance.objects.filter(
            _in_any(wanted), period_start__in=[starts_on(period, day) for period in ("day", "month", "none")]
        )
        if row.period_start == starts_on(row.period, day)
    }
    rank = {scope: n for n, scope in enumerate(wanted)}
    found = []
    for quota in sorted(quotas, key=lambda each: (rank[each.scope], each.resource, each.period)):
        row = balances.get(_key(quota.scope_kind, quota.scope_uuid, quota.resource, quota.period))
        used, reserved = (row.used, row.reserved) if row is not None else (0, 0)
        found.append(Standing(quota, resource_named(quota.resource), used, reserved, ends_at(quota.period, day)))
    return found


def quotas_of(scopes: Iterable[Scope]) -> QuerySet[Quota]:
    return Quota.objects.filter(_in_any(scopes))


def _in_any(scopes: Iterable[Scope]) -> Q:
    any_of = Q(pk__in=[])
    for scope in scopes:
        any_of |= Q(scope_kind=scope.kind, scope_uuid=scope.uuid)
    return any_of


def warned(scopes: Iterable[Scope]) -> list[Standing]:
    """Those that people should know of before they start, and while a session runs."""
    return [standing for standing in standings(scopes) if standing.is_warned]


def _key(kind: str, uuid: UUID, resource: str, period: str) -> tuple[str, UUID, str, str]:
    return kind, uuid, resource, period
