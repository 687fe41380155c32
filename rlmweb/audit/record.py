"""The one way to write an audit entry."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rlmweb.audit.models import AuditEntry


def record(
    action: str,
    *,
    actor: str,
    object_type: str,
    object_id: UUID | str,
    team_uuid: UUID | None = None,
    source: str = "web",
    outcome: str = AuditEntry.Outcome.SUCCESS,
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Write inside the caller's transaction, so that act and entry commit together."""
    return AuditEntry.objects.create(
        action=action,
        actor=actor,
        object_type=object_type,
        object_id=str(object_id),
        team_uuid=team_uuid,
        source=source,
        outcome=outcome,
        details=details or {},
    )
