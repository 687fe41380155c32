"""Exporting a session: who took it out is on record, then the archive is written as it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.db import transaction

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.quotas.services import record_use
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.models import Session
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import write_archive
from runs.services.policy_facts import about, facts_in
from runs.services.quota_scopes import scopes_of_actor
from runs.text import scrub

REASON_CHARS = 500


def export_session(
    session: Session, options: Options, *, actor: Actor, installation: str = "", reason: str = ""
) -> Iterator[bytes]:
    """The bytes of the archive. `installation` says in it where it was made; `reason` why, where the policy of the
    organisation asks. Raises `PolicyRefused`, `QuotaExceeded`, and `CannotExport` while it is read."""
    begin_export(session, actor, reason, {"context": options.context, "snapshots": options.with_snapshots})
    return write_archive(session, options, installation=scrub(installation))


def begin_export(session: Session, actor: Actor, reason: str, details: Mapping[str, object]) -> None:
    """Before content of the session leaves as a file: who, what, why. Raises `PolicyRefused`, `QuotaExceeded`."""
    require(Act.EXPORT, facts_in(session.team, actor, reason=reason, **about(session)))
    with transaction.atomic():
        audit(
            "session.export",
            actor=actor.name,
            object_type="session",
            object_id=session.uuid,
            team_uuid=session.team.uuid,
            source=actor.source,
            particulars=Particulars(reason=scrub(reason.strip())[:REASON_CHARS]),
            details=dict(details),
        )
        record_use(scopes_of_actor(session.team, actor.user), {"exports": 1}, session=session.uuid)
