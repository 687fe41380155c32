"""A long chain, written faster than acts are: for measuring the verifier."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from rlmweb.audit.body import event_id, time_text
from rlmweb.audit.record import prepared
from rlmweb.audit.standalone import GENESIS, entry_hash

COLUMNS = (
    "uuid, chain, seq, recorded_at, prev_hash, hash, body, at, team_uuid, subject_uuid, action, outcome, object_type,"
    " object_id, source"
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def write_long_log(chain: uuid.UUID, size: int) -> None:
    """Entries as `record` makes them, but for their ids and times, copied into the table past its triggers."""
    model = prepared(
        "session.stop", actor="ada", object_type="session", object_id=uuid.uuid4(), team_uuid=chain, details={"n": 1}
    )
    last, at_text = GENESIS, time_text(model.at)
    start_us = int(START.timestamp()) * 1_000_000
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        with cursor.cursor.copy(f"COPY audit_auditentry ({COLUMNS}) FROM STDIN") as copy:
            for seq in range(1, size + 1):
                number, at = event_id(), START + timedelta(milliseconds=seq)
                body = model.body.replace(str(model.uuid), str(number)).replace(at_text, time_text(at))
                digest = entry_hash(chain.bytes, seq, start_us + seq * 1000, last, body.encode())
                copy.write_row(
                    (
                        number,
                        chain,
                        seq,
                        at,
                        last,
                        digest,
                        body,
                        at,
                        chain,
                        model.subject_uuid,
                        model.action,
                        model.outcome,
                        model.object_type,
                        model.object_id,
                        model.source,
                    )
                )
                last = digest
        cursor.execute("INSERT INTO audit_chainhead (chain, size, hash) VALUES (%s, %s, %s)", [chain, size, last])
