"""Writes of a team's own rows, each in the audit log."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import msgspec
from django.db import transaction

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from sandboxes.catalogue.claims import Claim
from sandboxes.catalogue.keys import PROVIDERS, TOPICS
from sandboxes.catalogue.models import CatalogueRow

MOST_ROWS = 2000
"""A team's own rows: they are shown on one page."""


class RefusedRow(ValueError):
    """The row cannot be kept; `field` names what is wrong, empty: no single one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def add_row(team: Team, claim: Claim, *, actor: str, source: str) -> CatalogueRow:
    """Raises `RefusedRow`."""
    try:
        msgspec.convert(msgspec.to_builtins(claim), Claim)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("`$.")[2].rstrip("`")  # msgspec names the place last
        raise RefusedRow(f"{field}: one line of at most 500 characters, without control characters.", field) from error
    if claim.provider not in PROVIDERS:
        raise RefusedRow(f"The catalogue has no provider {claim.provider!r}: {', '.join(PROVIDERS)}.", "provider")
    if claim.capability_key not in TOPICS:
        raise RefusedRow(f"There is no topic {claim.capability_key!r}: {', '.join(TOPICS)}.", "capability_key")
    if claim.as_of > date.today():
        raise RefusedRow("A source cannot speak for a day that has not come.", "as_of")
    if CatalogueRow.objects.filter(team=team).count() >= MOST_ROWS:
        raise RefusedRow(f"A team keeps at most {MOST_ROWS} rows. Remove some first.")
    row = CatalogueRow.objects.create(
        team=team,
        provider=claim.provider,
        capability_key=claim.capability_key,
        claim_text=claim.claim_text,
        support=claim.support.value,
        value=claim.value,
        status=claim.status.value,
        as_of=claim.as_of,
        source=claim.source,
        note=claim.note,
        entered_by=actor,
    )
    _audit("catalogue_row.add", row, team.uuid, actor, source)
    return row


@transaction.atomic
def remove_row(row: CatalogueRow, *, actor: str, source: str) -> None:
    _audit("catalogue_row.delete", row, row.team.uuid, actor, source)
    row.delete()


def _audit(action: str, row: CatalogueRow, team_uuid: UUID, actor: str, source: str) -> None:
    audit(
        action,
        actor=actor,
        object_type="catalogue_row",
        object_id=row.uuid,
        team_uuid=team_uuid,
        source=source,
        details={
            "provider": row.provider,
            "capability": row.capability_key,
            "claim": row.claim_text,
            "value": row.value,
            "status": row.status,
            "as_of": row.as_of.isoformat(),
            "from": row.source,
        },
    )
