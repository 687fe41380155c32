"""Balances follow from the ledger, and nobody changes the ledger."""

from __future__ import annotations

import random
from datetime import timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.quotas.batch import Batch
from rlmweb.quotas.booking import Amount
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import Balance, LedgerEntry, Quota
from rlmweb.quotas.scopes import WHOLE, Scope
from rlmweb.quotas.services import hold_more, record_use, release, reserve, settle
from rlmweb.quotas.truth import differences, rebuild
from runs.services.quota_truth import check_daily

pytestmark = pytest.mark.django_db

RESOURCES = ("sessions", "cost_micro_usd", "concurrent_sandboxes", "gpu_ms:H100", "storage_bytes")


def live_a_little(seed: int, acts: int = 150) -> None:
    """Reservations, settlements, releases and refusals in any order, of several teams and people."""
    chance = random.Random(seed)
    teams, people = [uuid4() for _ in range(3)], [uuid4() for _ in range(4)]
    Quota.objects.create(
        scope_kind="team", scope_uuid=teams[0], resource="cost_micro_usd", limit=900, period="month", set_by="test"
    )
    held: list[UUID] = []
    for n in range(acts):
        scopes = [WHOLE, Scope("team", chance.choice(teams)), Scope("user", chance.choice(people))]
        amounts = {name: chance.randrange(100) for name in chance.sample(RESOURCES, 2)}
        try:
            match chance.randrange(5):
                case 0 | 1:
                    held.append(reserve(scopes, amounts, holder=f"{seed}:{n}").uuid)
                case 2 if held:
                    settle(held.pop(chance.randrange(len(held))), amounts)
                case 3 if held:
                    hold_more(chance.choice(held), amounts, strict=True)
                case 4 if held:
                    release(held.pop())
                case _:
                    record_use(scopes, amounts)
        except QuotaExceeded:
            continue


def rows() -> set[tuple[object, ...]]:
    keys = ("scope_kind", "scope_uuid", "resource", "period", "period_start", "used", "reserved")
    return {row for row in Balance.objects.values_list(*keys) if row[-2] or row[-1]}


@pytest.mark.parametrize("seed", range(3))
def test_balances_are_what_the_ledger_says_whatever_happened(seed: int) -> None:
    live_a_little(seed)
    assert differences() == []
    before = rows()
    assert len(before) > 20
    rebuild()
    assert rows() == before


def test_a_difference_is_found_told_and_mended() -> None:
    live_a_little(1, 40)
    row = Balance.objects.filter(used__gt=0).first()
    assert row is not None
    Balance.objects.filter(pk=row.pk).update(used=row.used + 1)
    (found,) = differences()
    assert (found.balance[0] - found.ledger[0], found.resource) == (1, row.resource)
    with pytest.raises(CommandError, match="1 do not agree"):
        call_command("quotas", "check")
    assert AuditEntry.objects.get(action="quota.check").outcome == "error"
    out = StringIO()
    call_command("quotas", "rebuild", stdout=out)
    assert "agree" in out.getvalue()
    assert differences() == []


def test_the_check_of_the_day_is_made_once() -> None:
    assert check_daily()
    assert not check_daily()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE quotas_ledgerentry SET used = 0", "DELETE FROM quotas_ledgerentry"],
)
def test_entries_cannot_be_changed(statement: str) -> None:
    record_use([WHOLE], {"sessions": 1})
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert LedgerEntry.objects.count() == 1


def test_entries_carry_the_time_of_the_database() -> None:
    LedgerEntry.objects.create(
        kind="settle",
        reservation=uuid4(),
        resource="sessions",
        reserved=0,
        used=0,
        day=timezone.now().date(),
        at=timezone.now() - timedelta(days=400),
    )
    assert timezone.now() - LedgerEntry.objects.get().at < timedelta(minutes=5)


def test_what_is_given_back_twice_is_refused() -> None:
    batch, team = Batch(), Scope("team", uuid4())
    batch.add(timezone.now().date(), {"input_tokens": Amount(reserved=-1)})
    with pytest.raises(IntegrityError, match="balance_is_not_negative"), transaction.atomic():
        batch.write([WHOLE, team], uuid4())


def test_settlements_count_on_the_day_of_their_reservation() -> None:
    yesterday = timezone.now().date() - timedelta(days=1)
    team, batch = Scope("team", uuid4()), Batch()
    batch.add(yesterday, {"input_tokens": Amount(0, 10)})
    batch.add(timezone.now().date(), {"input_tokens": Amount(0, 5)})
    batch.write([WHOLE, team], uuid4())
    days = Balance.objects.filter(scope_kind="team", period="day").order_by("period_start")
    assert [row.used for row in days] == [10, 5]
