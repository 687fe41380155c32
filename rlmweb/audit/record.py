"""The one way to write an audit entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils import timezone

from rlmweb.audit.body import SCHEMA, canonical, event_id, time_text
from rlmweb.audit.circumstances import current
from rlmweb.audit.inventory import refuse_unknown
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSubject
from rlmweb.audit.subjects import closed, new_sealed_key
from rlmweb.teams.models import Team

CHAINS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Particulars:
    """What not every act has. `changes`: field -> [before, after], with fingerprints in place of secrets."""

    role: str = ""
    on_behalf_of: str = ""
    reason: str = ""
    object_label: str = ""
    session: str = ""
    node: int | None = None
    step: int | None = None
    data_class: str = ""
    policy: str = ""
    changes: dict[str, Any] = field(default_factory=dict)


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
    particulars: Particulars | None = None,
) -> AuditEntry:
    """Write inside the caller's transaction, so that act and entry commit together.

    The entry has its number and hash when that transaction has ended; if that fails, so does the act. Raises
    `inventory.UnknownAction` for an action that the inventory does not name.
    """
    entry = prepared(
        action,
        actor=actor,
        object_type=object_type,
        object_id=object_id,
        team_uuid=team_uuid,
        source=source,
        outcome=outcome,
        details=details,
        particulars=particulars,
    )
    entry.save()
    return entry


def prepared(
    action: str,
    *,
    actor: str,
    object_type: str,
    object_id: UUID | str,
    team_uuid: UUID | None = None,
    source: str = "web",
    outcome: str = AuditEntry.Outcome.SUCCESS,
    details: dict[str, Any] | None = None,
    particulars: Particulars | None = None,
) -> AuditEntry:
    """The entry, not yet written. Its subject is."""
    refuse_unknown(action)
    about, more, now = current.get(), particulars or Particulars(), timezone.now()
    subject, _ = AuditSubject.objects.get_or_create(
        name=actor[:200], erased_at=None, defaults={"sealed_key": new_sealed_key()}
    )
    personal = {"actor": actor, "ip": about.ip, "user_agent": about.user_agent}
    columns = {
        "uuid": event_id(),
        "at": now,
        "team_uuid": team_uuid,
        "subject_uuid": subject.uuid,
        "action": action,
        "outcome": str(outcome),
        "object_type": object_type,
        "object_id": str(object_id),
        "source": source,
    }
    chain = chain_of(team_uuid)
    document = {
        **columns,
        "schema": SCHEMA,
        "chain": str(chain),
        "at": time_text(now),
        "personal": _whole(closed(bytes(subject.sealed_key), personal, str(subject.uuid))),
        "request_id": about.request_id,
        "auth_method": about.auth_method,
        **{name: getattr(more, name) for name in Particulars.__slots__},
        "details": details or {},
    }
    return AuditEntry(chain=chain, body=canonical(document), **columns)


def chain_of(team_uuid: UUID | None) -> UUID:
    """The chain in which acts of a team stand: that of its organisation. An organisation's own uuid is its chain."""
    if team_uuid is None:
        return INSTANCE_CHAIN
    if team_uuid not in _chains:
        found = Team.objects.filter(uuid=team_uuid).values_list("organisation__uuid", flat=True).first()
        if found is None:
            return team_uuid
        if len(_chains) >= CHAINS_KEPT:
            _chains.clear()
        _chains[team_uuid] = found
    return _chains[team_uuid]


_chains: dict[UUID, UUID] = {}
"""A team never changes its organisation."""


def _whole(ciphertext: str) -> str:
    """It must not be cut; names and addresses are bounded, so this never happens."""
    if len(ciphertext) > 2000:
        raise ValueError("Personal fields of an audit entry are too long.")
    return ciphertext
