"""What goes on in one organisation now: facts only, nothing that somebody or a model wrote.

Every figure is of the organisation's own teams. Nothing is counted by hand: sessions and steps are rows, money and storage
are the balances of quotas, so that this page and a limit cannot say different things.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, Sum
from django.utils import timezone

from rlmweb.csv_cells import neutral
from rlmweb.quotas.booking import starts_on
from rlmweb.quotas.models import Balance, Period, Waiting
from rlmweb.quotas.scopes import Scope, ScopeKind
from rlmweb.quotas.warnings import Standing, standings
from rlmweb.teams.models import Organisation, Team
from runs.models import Session, SessionMeter, Step
from sandboxes.models import ProviderAccount, ProviderAttestation, SandboxRecord
from sandboxes.vendors import TITLES

MOST_ROWS = 100
"""Of a list on the page; the file has all."""
FAILED_WITHIN = timedelta(hours=24)
ENDS_SOON = timedelta(days=30)
COST, STORAGE = "cost_micro_usd", "storage_bytes"


@dataclass(frozen=True, slots=True)
class Spent:
    """In millionths of a USD. `reserved`: calls and sandboxes in flight may still use it."""

    today: int = 0
    month: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """Steps by what they wait for. `late`: their worker has not been heard of for longer than its lease."""

    ready: int
    running: int
    waiting: int
    late: int
    workers: int
    oldest_ready_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sandboxes:
    provider: str
    count: int
    gpus: int
    usd_per_hour: Decimal | None
    """None: of one of them at least the price is not known."""


@dataclass(frozen=True, slots=True)
class Overview:
    running: Sequence[SessionMeter]
    running_count: int
    sandboxes: Sequence[Sandboxes]
    spent: Spent
    budgets: Sequence[Standing]
    storage_bytes: int
    queue: Queue
    held_up: int
    """Steps that wait for a quota."""
    failed: Sequence[Step]
    failed_count: int
    failed_kinds: Sequence[tuple[str, int]]
    accounts: Sequence[ProviderAccount]
    ending: Sequence[ProviderAttestation]


def overview(organisation: Organisation, team: Team | None = None) -> Overview:
    """`team`: one of its teams, to look at that one alone; what it spent and its limits are then the team's."""
    now = timezone.now()
    sessions = sessions_in(organisation, team)
    places: dict[str, Any] = {"team": team} if team else {"team__organisation": organisation}
    running, failed = running_of(sessions), failed_of(sessions, now)
    kinds = failed.order_by().values_list("error_type").annotate(n=Count("id")).order_by("-n", "error_type")
    scope = Scope(ScopeKind.TEAM, team.uuid) if team else Scope(ScopeKind.ORGANISATION, organisation.uuid)
    return Overview(
        running=list(running[:MOST_ROWS]),
        running_count=running.count(),
        sandboxes=_sandboxes(sessions),
        spent=_spent(scope, now.date()),
        budgets=[each for each in standings([scope], now.date()) if each.resource.kind != "cap"],
        storage_bytes=_balance(scope, STORAGE, Period.NONE, now.date())[0],
        queue=_queue(sessions, now),
        held_up=Waiting.objects.filter(session_uuid__in=sessions.values("uuid")).count(),
        failed=list(failed[:MOST_ROWS]),
        failed_count=failed.count(),
        failed_kinds=[(kind or "unknown", count) for kind, count in kinds[:10]],
        accounts=list(ProviderAccount.objects.filter(**places).select_related("team")),
        ending=list(
            ProviderAttestation.objects.filter(valid_until__lt=(now + ENDS_SOON).date(), **places)
            .select_related("team")
            .order_by("valid_until")
        ),
    )


def sessions_in(organisation: Organisation, team: Team | None) -> QuerySet[Session]:
    return Session.objects.filter(team=team) if team else Session.objects.filter(team__organisation=organisation)


def running_of(sessions: QuerySet[Session]) -> QuerySet[SessionMeter]:
    """The dearest first. Texts are not read: who looks at this may not see them."""
    meters = SessionMeter.objects.filter(session__in=sessions.filter(status=Session.Status.RUNNING))
    meters = meters.select_related("session__team", "session__created_by").order_by("-cost_micro_usd", "-pk")
    return meters.defer("session__question", "session__answer", "session__title")


def failed_of(sessions: QuerySet[Session], now: datetime) -> QuerySet[Step]:
    """Without the message, which may quote what a session holds."""
    steps = Step.objects.filter(
        session__in=sessions, status=Step.Status.FAILED, inherited=False, finished_at__gte=now - FAILED_WITHIN
    )
    steps = steps.select_related("session__team", "node").order_by("-finished_at", "-pk")
    return steps.defer("error_message", "state", "node_state", "session__question", "session__answer", "session__title")


def _sandboxes(sessions: QuerySet[Session]) -> list[Sandboxes]:
    found = SandboxRecord.objects.filter(
        state=SandboxRecord.State.RUNNING, session_uuid__in=sessions.values("uuid")
    ).order_by()
    rows = found.values("provider").annotate(
        n=Count("id"), gpus=Sum("gpu_count"), usd=Sum("usd_per_hour"), unknown=Count("id", filter=Q(usd_per_hour=None))
    )
    return [
        Sandboxes(
            TITLES.get(row["provider"], row["provider"]),
            row["n"],
            row["gpus"] or 0,
            None if row["unknown"] else row["usd"],
        )
        for row in rows.order_by("-n", "provider")
    ]


def _spent(scope: Scope, today: date) -> Spent:
    day, reserved = _balance(scope, COST, Period.DAY, today)
    month, _ = _balance(scope, COST, Period.MONTH, today)
    return Spent(day, month, reserved)


def _balance(scope: Scope, resource: str, period: str, today: date) -> tuple[int, int]:
    found = Balance.objects.filter(
        scope_kind=scope.kind,
        scope_uuid=scope.uuid,
        resource=resource,
        period=period,
        period_start=starts_on(period, today),
    ).first()
    return (found.used, found.reserved) if found is not None else (0, 0)


def _queue(sessions: QuerySet[Session], now: datetime) -> Queue:
    kinds = Step.Status
    steps = Step.objects.filter(session__in=sessions, status__in=(kinds.READY, kinds.RUNNING, kinds.WAITING)).order_by()
    late = Q(status=kinds.RUNNING, lease_expires_at__lt=now)
    found = steps.aggregate(
        ready=Count("id", filter=Q(status=kinds.READY)),
        running=Count("id", filter=Q(status=kinds.RUNNING)),
        waiting=Count("id", filter=Q(status=kinds.WAITING)),
        late=Count("id", filter=late),
        workers=Count("worker", filter=Q(status=kinds.RUNNING) & ~late, distinct=True),
        oldest_ready_at=Min("created_at", filter=Q(status=kinds.READY)),
    )
    return Queue(**found)


# Files ----------------------------------------------------------------------------------------------------------------


def running_csv(meters: QuerySet[SessionMeter]) -> str:
    head = ("session", "team", "started by", "started", "nodes", "steps", "model calls", "tokens", "USD")
    rows = (
        (
            meter.session.uuid,
            meter.session.team.slug,
            meter.session.created_by or "",
            meter.session.created_at.isoformat(),
            meter.nodes,
            meter.steps,
            meter.lm_calls,
            meter.input_tokens + meter.output_tokens,
            f"{meter.cost_micro_usd / 1e6:.6f}",
        )
        for meter in meters.iterator(chunk_size=1000)
    )
    return _csv(head, rows)


def failed_csv(steps: QuerySet[Step]) -> str:
    head = ("session", "team", "node", "step", "error", "crashes", "failed")
    rows = (
        (
            step.session.uuid,
            step.session.team.slug,
            step.node.number,
            step.number,
            step.error_type,
            step.crashes,
            step.finished_at.isoformat() if step.finished_at else "",
        )
        for step in steps.iterator(chunk_size=1000)
    )
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Any) -> str:
    out = io.StringIO()
    write = csv.writer(out)
    write.writerow(head)
    write.writerows([neutral(cell) for cell in row] for row in rows)
    return out.getvalue()
