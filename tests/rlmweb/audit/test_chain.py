"""Entries are numbered, chained, append-only, and whatever is altered is found."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from rlmweb.audit.inventory import UnknownAction
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, ChainHead
from rlmweb.audit.record import record
from rlmweb.audit.standalone import GENESIS, entry_hash
from rlmweb.audit.verify import State, verify

pytestmark = pytest.mark.django_db(transaction=True)


def act(team: uuid.UUID | None = None, **fields: object) -> AuditEntry:
    return record(
        "session.stop",
        actor="ada",
        object_type="session",
        object_id=uuid.uuid4(),
        team_uuid=team,
        details={"n": 1, "text": "é\x00=1+1", **fields},
    )


def test_the_database_and_the_standalone_verifier_hash_alike() -> None:
    team = uuid.uuid4()
    rows = [act(team), act(team)]
    last = GENESIS
    for number, row in enumerate(rows, start=1):
        row.refresh_from_db()
        assert row.seq == number
        assert row.recorded_at is not None
        recorded_us = int(row.recorded_at.replace(microsecond=0).timestamp()) * 1_000_000 + row.recorded_at.microsecond
        assert bytes(row.prev_hash or b"") == last
        last = entry_hash(team.bytes, number, recorded_us, last, row.body.encode())
        assert bytes(row.hash or b"") == last
    assert verify(team).intact


def test_an_act_that_is_rolled_back_leaves_no_gap() -> None:
    act()
    with transaction.atomic():
        act()
        transaction.set_rollback(True)
    act()
    assert list(AuditEntry.objects.order_by("id").values_list("seq", flat=True)) == [1, 2]
    assert verify(INSTANCE_CHAIN).intact


def test_many_at_once_are_numbered_without_gaps() -> None:
    team = uuid.uuid4()
    act(team)

    def some(_: int) -> None:
        try:
            for _ in range(10):
                act(team)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, range(4)))
    verdict = verify(team)
    assert (verdict.state, verdict.entries) == (State.INTACT, 41)


def test_nothing_is_changed_removed_or_numbered_by_hand() -> None:
    row = act()
    for change in (
        lambda: AuditEntry.objects.update(outcome="denied"),
        lambda: AuditEntry.objects.filter(pk=row.pk)._raw_delete("default"),
        lambda: AuditEntry(
            uuid=uuid.uuid4(), seq=7, body="{}", at=row.at, subject_uuid=row.subject_uuid, action="x"
        ).save(),
    ):
        with pytest.raises((IntegrityError, DatabaseError)):
            change()
    assert AuditEntry.objects.count() == 1


def test_the_table_cannot_be_emptied() -> None:
    act()
    # The tests switch it off to clean up after themselves: see tests/conftest.py.
    switch_on = "ALTER TABLE audit_auditentry ENABLE TRIGGER audit_refuse_truncate; TRUNCATE audit_auditentry"
    with transaction.atomic(), connection.cursor() as cursor, pytest.raises(DatabaseError, match="append-only"):
        cursor.execute(switch_on)
    assert AuditEntry.objects.exists()


def test_an_action_that_is_not_in_the_inventory_fails() -> None:
    with pytest.raises(UnknownAction):
        record("session.dance", actor="ada", object_type="session", object_id="1")
    assert not ChainHead.objects.exists()


def test_an_entry_knows_who_and_what() -> None:
    row = act()
    row.refresh_from_db()
    assert row.actor == "ada"
    assert '"ada"' not in row.body  # without its quotes it is in one uuid of forty
    assert row.details["n"] == 1


def test_an_empty_chain_is_not_called_intact() -> None:
    assert verify(uuid.uuid4()).state is State.INCOMPLETE
