"""Importing an archive: checked in full, contents stored, then all rows in one transaction.

Contents that a failed import leaves in the store belong to no session: nobody can read them, and they are collected like
all that is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.db import connection, transaction

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import Stored, blob_store
from runs.models import Session
from runs.replay.archive import format as form
from runs.replay.archive.checking import check_archive
from runs.replay.archive.reading import Archive, open_archive
from runs.replay.archive.recording import Recording

IN_MEMORY_BYTES = 4 * 1024 * 1024
Watch = Callable[[int, int, str], None]
"""Told how far the import is: done, of how many, what. May raise to end it."""
PHASES = 4


@dataclass(frozen=True, slots=True)
class Imported:
    """`created`: False for the session that an earlier import of the same archive made."""

    session: Session
    created: bool


def import_archive(
    path: Path,
    *,
    actor: Actor,
    team: Team,
    again: bool = False,
    limits: form.Limits = form.LIMITS,
    watch: Watch = lambda done, total, text: None,
    on_recorded: Callable[[Imported], None] = lambda imported: None,
) -> Imported:
    """Make a session of the archive in `team`. `on_recorded` runs inside the transaction.

    The same archive a second time answers with the session that is there, unless `again`. Raises `ArchiveError` before
    anything is written.
    """

    def telling(done: int, text: str) -> Callable[[], None]:
        watch(done, PHASES, text)
        return lambda: watch(done, PHASES, text)

    with open_archive(path, limits, telling(0, "reading the archive")) as archive:
        if not again and (found := imported_before(archive.digest, team)) is not None:
            return _answer(Imported(found, False), on_recorded)
        tables = check_archive(archive, telling(1, "checking what it says"))
        contents = _store(archive, tables.sizes, telling(2, "storing its contents"))
        telling(3, "recording the session")
        with transaction.atomic():
            _one_at_a_time(team, archive.digest)
            if not again and (found := imported_before(archive.digest, team)) is not None:
                return _answer(Imported(found, False), on_recorded)
            session = Recording(archive, tables, contents, actor=actor, team=team).record()
            audit(
                "session.import",
                actor=actor.name,
                object_type="session",
                object_id=session.uuid,
                team_uuid=team.uuid,
                source=actor.source,
                details={"from": str(tables.session.uuid), "installation": tables.about.installation},
            )
            return _answer(Imported(session, True), on_recorded)


def imported_before(digest: str, team: Team) -> Session | None:
    """The newest session of the team that was made of this archive."""
    return Session.objects.filter(team=team, origin__kind="import", origin__archive=digest).order_by("-pk").first()


def _answer(imported: Imported, on_recorded: Callable[[Imported], None]) -> Imported:
    on_recorded(imported)
    return imported


def _store(archive: Archive, sizes: dict[str, int], tick: Callable[[], None]) -> list[Stored]:
    """All contents again, whether or not the store has them: one that is damaged there is not trusted."""
    store = blob_store()
    stored = []
    for sha256 in archive.contents:
        chunks = archive.content(sha256)
        small = sizes[sha256] <= IN_MEMORY_BYTES
        stored.append(store.put(b"".join(chunks)) if small else store.put_stream(chunks))
        tick()
    store.settle()  # the record names them from the next commit on
    return stored


def _one_at_a_time(team: Team, digest: str) -> None:
    """Two imports of one archive at the same time make one session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"import {team.pk} {digest}"])
