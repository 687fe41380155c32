"""Imports as jobs: started with an uploaded file, done by a worker, from the beginning again when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.models import Job, Session
from runs.replay.archive.errors import ArchiveError
from runs.replay.archive.importing import Imported, import_archive
from runs.replay.archive.workplace import waiting_file, workplace
from runs.services.jobs import JobRefused, JobRun, JobStopped, job_kind, start_job
from runs.uploads import Upload, UploadError

IMPORT = "import"
KIND = "archive"
"""What an upload says that it is for, so that no other is taken for an archive."""
TELL_EVERY_S = 0.5


class ImportRefused(JobRefused):
    """The archive was not imported; the message says why and what to do."""


def start_import(upload: Upload, *, actor: Actor, team: Team, again: bool = False) -> Job:
    """Import what was uploaded, in a job. Raises `UploadError` when it is not complete, or for something else."""
    if upload.kind != KIND:
        raise UploadError("This upload is not an archive of a session. Begin it again.")
    if not upload.complete:
        raise UploadError(f"The upload stands at byte {upload.received_bytes:,} of {upload.size_bytes:,}. Go on.")
    path = waiting_file()
    upload.path.rename(path)
    try:
        args = {"file": path.name, "name": upload.name, "again": again, "source": actor.source}
        return start_job(IMPORT, team=team, actor=actor, args=args)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def session_of(job: Job) -> Session | None:
    """What came of it; None before, and when the session is gone."""
    return Session.objects.filter(uuid=job.result["session"]).first() if job.result else None


@job_kind(IMPORT)
def run_import(run: JobRun) -> None:
    """The result is written with the rows: a worker that takes over after them finds the session and has nothing to do."""
    path = workplace() / Path(str(run.args["file"])).name
    if not run.job.result:
        _import(run, path)
    path.unlink(missing_ok=True)


def _import(run: JobRun, path: Path) -> None:
    if not path.exists():
        raise ImportRefused("The uploaded file is not there any more. Upload the archive again.")
    actor = Actor(run.job.created_by, str(run.args["source"]))
    try:
        import_archive(
            path,
            actor=actor,
            team=run.job.team,
            again=bool(run.args["again"]),
            watch=_watch(run),
            on_recorded=lambda imported: run.save_result(_result(imported)),
        )
    except ArchiveError as error:
        path.unlink(missing_ok=True)
        raise ImportRefused(str(error)) from error
    except JobStopped:
        if Job.objects.filter(pk=run.job.pk, status=Job.Status.STOPPED).exists():
            path.unlink(missing_ok=True)
        raise


def _result(imported: Imported) -> dict[str, object]:
    return {"session": str(imported.session.uuid), "created": imported.created}


def _watch(run: JobRun) -> Callable[[int, int, str], None]:
    """Tells those who watch twice a second, and notices there that the job was stopped or lost."""
    told: tuple[float, int] = (0.0, -1)

    def watch(done: int, total: int, text: str) -> None:
        nonlocal told
        now = time.monotonic()
        if done != told[1] or now - told[0] > TELL_EVERY_S:
            told = (now, done)
            run.progress(done, total, text)

    return watch
