"""Balances are derived: here they are computed again from the ledger, compared, and where needed made anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from rlmweb.quotas.resources import RESOURCES

_LEVELS = tuple(each.name for each in RESOURCES.values() if each.kind == "level")

# Each entry counts in every scope that it names; a flow in its day and its month, a level for ever.
_FROM_LEDGER = """
  SELECT s.kind AS scope_kind, s.uuid AS scope_uuid, e.resource, p.period, p.starts AS period_start,
         sum(e.used)::bigint AS used, sum(e.reserved)::bigint AS reserved
  FROM quotas_ledgerentry e
  CROSS JOIN LATERAL (VALUES
    ('installation', '00000000-0000-0000-0000-000000000000'::uuid), ('organisation', e.organisation_uuid),
    ('team', e.team_uuid), ('user', e.user_uuid), ('key', e.key_uuid)) AS s (kind, uuid)
  CROSS JOIN LATERAL (VALUES
    ('day', e.day, e.resource <> ALL (%(levels)s)),
    ('month', date_trunc('month', e.day)::date, e.resource <> ALL (%(levels)s)),
    ('none', DATE '1970-01-01', e.resource = ANY (%(levels)s))) AS p (period, starts, holds)
  WHERE s.uuid IS NOT NULL AND p.holds
  GROUP BY 1, 2, 3, 4, 5
"""
_KEY = "scope_kind, scope_uuid, resource, period, period_start"
_COMPARE = f"""
  WITH truth AS ({_FROM_LEDGER})
  SELECT {_KEY}, coalesce(b.used, 0), coalesce(b.reserved, 0), coalesce(t.used, 0), coalesce(t.reserved, 0)
  FROM truth t FULL JOIN quotas_balance b USING ({_KEY})
  WHERE coalesce(b.used, 0) <> coalesce(t.used, 0) OR coalesce(b.reserved, 0) <> coalesce(t.reserved, 0)
  ORDER BY {_KEY} LIMIT 1000
"""  # noqa: S608  # nosec B608  # nothing from outside


@dataclass(frozen=True, slots=True)
class Difference:
    """A balance that is not what the ledger says. `balance` and `ledger`: used and reserved."""

    scope_kind: str
    scope_uuid: UUID
    resource: str
    period: str
    period_start: str
    balance: tuple[int, int]
    ledger: tuple[int, int]

    def __str__(self) -> str:
        where = f"{self.scope_kind} {self.scope_uuid} {self.resource} per {self.period} from {self.period_start}"
        return f"{where}: balance {self.balance[0]}+{self.balance[1]}, ledger {self.ledger[0]}+{self.ledger[1]}"


def differences() -> list[Difference]:
    """Of balances and ledger, at one moment; the first thousand."""
    with connection.cursor() as cursor:
        cursor.execute(_COMPARE, {"levels": list(_LEVELS)})
        return [_difference(row) for row in cursor.fetchall()]


def rebuild() -> int:
    """Make every balance anew from the ledger; bookings wait meanwhile. Returns how many rows there are."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Waits for bookings in flight: their entries and their balances are both there, or neither.
        cursor.execute("LOCK TABLE quotas_balance IN EXCLUSIVE MODE")
        cursor.execute("DELETE FROM quotas_balance")
        cursor.execute(
            f"INSERT INTO quotas_balance ({_KEY}, used, reserved) {_FROM_LEDGER}",
            {"levels": list(_LEVELS)},
        )
        return int(cursor.rowcount)


def _difference(row: tuple[Any, ...]) -> Difference:
    kind, uuid, resource, period, starts, *amounts = row
    return Difference(kind, uuid, resource, period, str(starts), (amounts[0], amounts[1]), (amounts[2], amounts[3]))
