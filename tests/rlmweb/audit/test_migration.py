"""Entries from before the chains are chained in their order, and lose nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry
from rlmweb.audit.record import record
from rlmweb.audit.verify import verify

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(name: str) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate([("audit", name)])
    return MigrationExecutor(connection).loader.project_state([("audit", name)]).apps


@pytest.fixture
def old_apps() -> Iterator[Any]:
    with connection.cursor() as cursor:
        # An empty table: the way back drops columns that only exist for entries in chains.
        cursor.execute("DROP TABLE audit_auditentry, audit_auditsubject, audit_chainhead, audit_auditsegment")
        cursor.execute("DROP TABLE audit_legalhold, audit_stagedread")
        cursor.execute("DROP FUNCTION audit_refuse_change, audit_refuse_delete, audit_refuse_update")
        cursor.execute("DROP FUNCTION audit_number, audit_unnumbered")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'audit'")
    yield migrate("0001_initial")
    migrate("0004_protection")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_refuse_truncate")


def test_old_entries_are_chained_and_the_log_goes_on(old_apps: Any) -> None:
    old, team = old_apps.get_model("audit", "AuditEntry"), uuid.uuid4()
    for number in range(6):
        old.objects.create(
            uuid=uuid.uuid4(),
            at=timezone.now(),
            team_uuid=team if number % 2 else None,
            actor="ada" if number < 3 else "bob",
            action="session.stop",
            object_type="session",
            object_id=str(number),
            source="web",
            details={"number": number},
        )
    migrate("0004_protection")
    found = {entry.object_id: (entry.actor, entry.details["number"], entry.seq) for entry in AuditEntry.objects.all()}
    assert found == {str(n): ("ada" if n < 3 else "bob", n, n // 2 + 1) for n in range(6)}
    record("session.stop", actor="ada", object_type="session", object_id="x", team_uuid=team)
    assert [verify(chain).entries for chain in (team, INSTANCE_CHAIN)] == [4, 3]
    assert verify(team).intact
    assert verify(INSTANCE_CHAIN).intact
