"""Every night: is what quotas count what was used? Balances against the ledger, the ledger against meters and journals."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.audit.record import record as audit
from rlmweb.quotas.models import Reservation
from rlmweb.quotas.truth import differences
from runs.services.quota_storage import measure_storage

logger = logging.getLogger(__name__)

CHECK_EVERY = timedelta(days=1)

# One statement, one snapshot: a session's meter and its bookings commit together.
_METERS = """
  SELECT s.uuid, r.resource, coalesce(l.used, 0),
         CASE r.resource WHEN 'input_tokens' THEN m.input_tokens WHEN 'output_tokens' THEN m.output_tokens
           ELSE m.cost_micro_usd END AS metered
  FROM quotas_payer p
  JOIN runs_session s ON s.uuid = p.session_uuid
  JOIN runs_sessionmeter m ON m.session_id = s.id
  CROSS JOIN (VALUES ('input_tokens'), ('output_tokens'), ('cost_micro_usd')) AS r (resource)
  LEFT JOIN LATERAL (SELECT sum(e.used) AS used FROM quotas_ledgerentry e
    WHERE e.session_uuid = s.uuid AND e.resource = r.resource) l ON true
  WHERE coalesce(l.used, 0) <> CASE r.resource WHEN 'input_tokens' THEN m.input_tokens
    WHEN 'output_tokens' THEN m.output_tokens ELSE m.cost_micro_usd END
  ORDER BY s.id LIMIT 1000
"""
_RESERVED = """
  SELECT s.uuid, r.resource, coalesce(l.reserved, 0),
         coalesce(CASE r.resource WHEN 'input_tokens' THEN c.input_tokens WHEN 'output_tokens' THEN c.output_tokens
           ELSE c.cost_micro_usd END, 0) AS held
  FROM quotas_payer p
  JOIN runs_session s ON s.uuid = p.session_uuid
  CROSS JOIN (VALUES ('input_tokens'), ('output_tokens'), ('cost_micro_usd')) AS r (resource)
  LEFT JOIN LATERAL (SELECT sum(e.reserved) AS reserved FROM quotas_ledgerentry e
    WHERE e.session_uuid = s.uuid AND e.resource = r.resource) l ON true
  LEFT JOIN LATERAL (SELECT sum(reserved_tokens - reserved_output_tokens) AS input_tokens,
      sum(reserved_output_tokens) AS output_tokens, sum(reserved_micro_usd) AS cost_micro_usd
    FROM runs_lmcall WHERE session_id = s.id AND status = 'started' AND reserved_output_tokens IS NOT NULL) c ON true
  WHERE coalesce(l.reserved, 0) <> coalesce(CASE r.resource WHEN 'input_tokens' THEN c.input_tokens
    WHEN 'output_tokens' THEN c.output_tokens ELSE c.cost_micro_usd END, 0)
  ORDER BY s.id LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A session for which ledger and record disagree. `what`: `used`, or `reserved` by calls that are out."""

    session: UUID
    resource: str
    what: str
    ledger: int
    record: int

    def __str__(self) -> str:
        return f"session {self.session} {self.resource} {self.what}: ledger {self.ledger}, record {self.record}"


def discrepancies() -> list[Discrepancy]:
    """Sessions whose model calls the ledger has otherwise than meter and journal; the first thousand of each kind."""
    found = []
    with connection.cursor() as cursor:
        for what, statement in (("used", _METERS), ("reserved", _RESERVED)):
            cursor.execute(statement)
            found += [Discrepancy(uuid, name, what, int(a), int(b)) for uuid, name, a, b in cursor.fetchall()]
    return found


def oldest_open_s() -> int:
    """Age of the oldest reservation that is neither settled nor released, in seconds; 0 without one."""
    oldest = Reservation.objects.filter(state=Reservation.State.OPEN).aggregate(at=Min("created_at"))["at"]
    return max(0, int((timezone.now() - oldest).total_seconds())) if oldest is not None else 0


def check_daily() -> bool:
    """A periodic job: once a day, measure what is stored and check everything. False when it was not due."""
    since = timezone.now() - CHECK_EVERY
    if AuditEntry.objects.filter(action="quota.check", at__gt=since).exists():
        return False
    check(source="worker", actor="system")
    return True


def check(*, source: str, actor: str) -> list[str]:
    """What does not agree, in words; on record either way."""
    measured = measure_storage()
    found = [*map(str, differences()), *map(str, discrepancies())]
    for each in found:
        logger.error("quotas do not agree: %s", each)
    with transaction.atomic():
        audit(
            "quota.check",
            actor=actor,
            object_type="quota",
            object_id="balances",
            source=source,
            outcome=AuditEntry.Outcome.ERROR if found else AuditEntry.Outcome.SUCCESS,
            details={"differences": len(found), "storage_bookings": measured, "oldest_open_s": oldest_open_s()},
        )
    return found
