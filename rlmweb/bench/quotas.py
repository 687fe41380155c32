"""Measurements of the suite `governance`: what quotas hold, and what they cost a start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from unittest import mock
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, transaction

from rlmweb.bench.scratch_database import scratch_database
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import Balance, Quota
from rlmweb.quotas.resources import periods_of, resource_named
from rlmweb.quotas.scopes import WHOLE, Scope
from rlmweb.quotas.services import record_use, reserve
from rlmweb.quotas.truth import differences
from rlmweb.teams.models import Organisation, Team
from runs.access import Actor
from runs.bench.stats import p50, p95
from runs.bench.suite import Bench
from runs.models import Context, Session
from runs.services import sessions
from runs.services.config import ModelConfig, SessionConfig
from runs.services.quota_scopes import count_start

OVER = "quotas: trials over the limit, 64 starts at 10"
WRONG = "quotas: balances that differ from the ledger"
START = "quotas: overhead of a start p95"
RATIO = "quotas: start with quotas to without, p50"
BOOK = "quotas: booking of a commit's calls p95"

STARTS = 64
LIMIT = 10
GATE_TIMEOUT_S = 60.0
T = TypeVar("T")
RESOURCES = ("concurrent_sandboxes", "sessions", "cost_micro_usd", "gpu_ms:H100", "storage_bytes")


def quota_races(bench: Bench) -> None:
    """Exactly ten of 64 that start together get through, each on a connection of its own."""
    trials = bench.rounds(100, 3)
    with scratch_database(), ThreadPoolExecutor(STARTS) as pool:
        try:
            wrong = [name for name in RESOURCES for _ in range(trials) if _admitted(name, pool) != LIMIT]
            bench.record(OVER, len(wrong), n=trials * len(RESOURCES), note=", ".join(sorted(set(wrong))))
            bench.record(WRONG, len(differences()), n=Balance.objects.count())
        finally:
            _at_once(pool, lambda n: connection.close())


def _admitted(resource: str, pool: ThreadPoolExecutor) -> int:
    """How many got through; -1 when the balance says otherwise."""
    team = Scope("team", uuid4())
    period = periods_of(resource_named(resource))[0]
    Quota.objects.create(
        scope_kind="team", scope_uuid=team.uuid, resource=resource, limit=LIMIT, period=period, set_by="bench"
    )

    def start(n: int) -> int:
        try:
            reserve([WHOLE, team, Scope("user", UUID(int=n + 1))], {resource: 1}, holder=f"{team.uuid}:{n}")
        except QuotaExceeded:
            return 0
        return 1

    got = sum(_at_once(pool, start))
    row = Balance.objects.get(scope_kind="team", scope_uuid=team.uuid, resource=resource, period=period)
    return got if row.reserved == got else -1


def _at_once(pool: ThreadPoolExecutor, act: Callable[[int], T]) -> list[T]:
    """In every thread of the pool once: none gets past the gate before all have come."""
    gate = threading.Barrier(STARTS)

    def run(n: int) -> T:
        gate.wait(GATE_TIMEOUT_S)
        return act(n)

    return list(pool.map(run, range(STARTS)))


def quota_start(bench: Bench) -> None:
    """What counting adds to a start, timed within it; and whole starts with and without it, in pairs."""
    rounds = bench.rounds(400, 30)
    counted_ms: list[float] = []

    def timed_count(session: Session, user: User | None) -> None:
        began = time.perf_counter()
        count_start(session, user)
        counted_ms.append((time.perf_counter() - began) * 1000)

    with scratch_database():
        start = _starter()
        for _ in range(5):  # the first ones fill caches
            start()
        with_ms, without_ms = [], []
        for _ in range(rounds):
            with_ms.append(_timed_with(timed_count, start))
            without_ms.append(_timed_with(lambda session, user: None, start))
    said = f"p50 {p50(counted_ms):.1f} ms; quotas set in three of four scopes; beside it the rest of the start"
    bench.record(START, p95(counted_ms), reference=p95(without_ms), n=rounds, note=said)
    ratio = p50(with_ms) / p50(without_ms)
    bench.record(RATIO, ratio, n=rounds, note=f"{p50(with_ms):.1f} to {p50(without_ms):.1f} ms")


def quota_booking(bench: Bench) -> None:
    """Three resources in four scopes, two periods each, with their ledger entries and the commit."""
    scopes = [WHOLE, *(Scope(kind, uuid4()) for kind in ("organisation", "team", "user"))]
    amounts = {"input_tokens": 900, "output_tokens": 120, "cost_micro_usd": 4500}
    with scratch_database():
        _limit_all(scopes)
        durations_ms = [_timed(lambda: record_use(scopes, amounts)) for _ in range(bench.rounds(2000, 100))]
    bench.record(BOOK, p95(durations_ms), n=len(durations_ms), note=f"p50 {p50(durations_ms):.2f} ms")


def _starter() -> Callable[[], object]:
    organisation = Organisation.objects.create(slug="bench", name="Bench")
    team = Team.objects.create(slug="bench", name="Bench", organisation=organisation)
    user = get_user_model().objects.create_user(username="bench")
    context = Context.objects.create(team=team, name="c", kind="text", sha256="0" * 64, size_bytes=1)
    _limit_all([WHOLE, Scope("organisation", organisation.uuid), Scope("team", team.uuid)])
    config = SessionConfig(root=ModelConfig(api="scripted", model="scripted:tour"))
    actor = Actor(user, "bench")
    return lambda: sessions.start_session(actor=actor, team=team, question="How many?", context=context, config=config)


def _limit_all(scopes: list[Scope]) -> None:
    """High limits: what they cost is asked, not what they refuse."""
    for scope in scopes:
        for resource in ("sessions", "input_tokens", "output_tokens", "cost_micro_usd"):
            Quota.objects.create(
                scope_kind=scope.kind,
                scope_uuid=scope.uuid,
                resource=resource,
                limit=10**15,
                period="day",
                set_by="bench",
            )


def _timed_with(count: Callable[[Session, User | None], None], start: Callable[[], object]) -> float:
    with mock.patch.object(sessions, "count_start", count):
        return _timed(start)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    with transaction.atomic():
        act()
    return (time.perf_counter() - began) * 1000
