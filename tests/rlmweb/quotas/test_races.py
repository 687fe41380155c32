"""Many who start at once: never over the limit, and nothing is lost. Real connections, each thread its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from django.db import connection

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import Balance, LedgerEntry, Quota
from rlmweb.quotas.resources import periods_of, resource_named
from rlmweb.quotas.scopes import WHOLE, Scope
from rlmweb.quotas.services import record_use, reserve, settle

pytestmark = pytest.mark.django_db(transaction=True)

STARTS = 64
LIMIT = 10
RESOURCES = ("concurrent_sandboxes", "sessions", "cost_micro_usd", "gpu_ms:H100", "storage_bytes")


def limited(scope: Scope, resource: str, limit: int = LIMIT) -> Quota:
    period = periods_of(resource_named(resource))[0]
    return Quota.objects.create(
        scope_kind=scope.kind, scope_uuid=scope.uuid, resource=resource, limit=limit, period=period, set_by="test"
    )


def at_once(act: Callable[[int], object], count: int = STARTS) -> list[object]:
    """What each of `count` threads came to, errors included; they begin together."""
    gate = threading.Barrier(count)

    def run(n: int) -> object:
        try:
            gate.wait()
            return act(n)
        except QuotaExceeded as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def total(scope: Scope, resource: str) -> int:
    row = Balance.objects.get(
        scope_kind=scope.kind, scope_uuid=scope.uuid, resource=resource, period=periods_of(resource_named(resource))[0]
    )
    return row.used + row.reserved


@pytest.mark.parametrize("resource", RESOURCES)
def test_64_starts_at_a_limit_of_10_give_10(resource: str) -> None:
    for _ in range(2):
        team = Scope("team", uuid4())
        limited(team, resource)
        # Persons stand behind the team in the order: what was booked in wider scopes must be undone for who is refused.
        came = at_once(
            lambda n, team=team: reserve(  # type: ignore[misc]
                [WHOLE, team, Scope("user", UUID(int=n + 1))], {resource: 1}, holder=f"{team.uuid}:{n}"
            )
        )
        refused = [each for each in came if isinstance(each, QuotaExceeded)]
        assert len(refused) == STARTS - LIMIT
        assert total(team, resource) == LIMIT
        assert {each.scope for each in refused} == {team}
        assert LedgerEntry.objects.filter(team_uuid=team.uuid, kind="reserve").count() == LIMIT
    assert total(WHOLE, resource) == 2 * LIMIT


def test_scopes_given_in_any_order_never_wait_in_a_circle() -> None:
    scopes = [WHOLE, Scope("organisation", uuid4()), Scope("team", uuid4()), Scope("user", uuid4())]

    def act(n: int) -> None:
        turned = scopes[n % 4 :] + scopes[: n % 4]
        amounts = dict(list({"sessions": 1, "input_tokens": 2, "cost_micro_usd": 3}.items())[:: (-1) ** n])
        record_use(turned, amounts)

    at_once(act)
    for scope in scopes:
        assert [total(scope, name) for name in ("sessions", "input_tokens", "cost_micro_usd")] == [64, 128, 192]


def test_the_same_holder_gets_one_reservation() -> None:
    team = Scope("team", uuid4())
    came = at_once(lambda n: reserve([WHOLE, team], {"concurrent_sandboxes": 1}, holder="node:1").uuid, 16)
    assert len(set(came)) == 1
    assert total(team, "concurrent_sandboxes") == 1


def test_a_reservation_is_settled_once() -> None:
    team = Scope("team", uuid4())
    held = reserve([WHOLE, team], {"cost_micro_usd": 500}, holder="one")
    came = at_once(lambda n: settle(held.uuid, {"cost_micro_usd": 123}), 16)
    assert came.count(True) == 1
    row = Balance.objects.get(scope_kind="team", scope_uuid=team.uuid, period="day")
    assert (row.used, row.reserved) == (123, 0)
