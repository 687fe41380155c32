"""Exporting a session: who took it out is on record, then the archive is written as it is read."""

from __future__ import annotations

from collections.abc import Iterator

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import Session
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import write_archive
from runs.text import scrub


def export_session(session: Session, options: Options, *, actor: Actor, installation: str = "") -> Iterator[bytes]:
    """The bytes of the archive. `installation` says in it where it was made. Raises `CannotExport` while it is read."""
    audit(
        "session.export",
        actor=actor.name,
        object_type="session",
        object_id=session.uuid,
        team_uuid=session.team.uuid,
        source=actor.source,
        details={"context": options.context, "snapshots": options.with_snapshots},
    )
    return write_archive(session, options, installation=scrub(installation))
