"""Archives over the API: a session as one file, and back."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from ninja import Field, Header, Router, Schema, Status

from runs import uploads
from runs.access import actor_of, session_for, team_for, teams_to_start_in
from runs.api.schemas import Problem, UploadOut
from runs.models import Job
from runs.replay.archive.exporting import export_session
from runs.replay.archive.responses import archive_response
from runs.replay.archive.running import IMPORT, KIND, session_of, start_import
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import archive_name

Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Ticket = Annotated[str, Header(alias="Upload-Ticket")]
router = Router(tags=["archives"])


class NewArchive(Schema):
    """`team`: where the session goes; your first team when it is left out."""

    name: str = Field("session.rlmweb.tar", max_length=255)
    size_bytes: int = Field(ge=1, le=2**63 - 1)
    team: UUID | None = None


class ImportOut(Schema):
    """`session` is there when `status` is `finished`; `created` is false when the team had it already."""

    uuid: UUID
    status: str
    progress: dict[str, Any]
    session: UUID | None
    created: bool
    error: str

    @staticmethod
    def of(job: Job) -> ImportOut:
        session = session_of(job)
        return ImportOut(
            uuid=job.uuid,
            status=job.status,
            progress=job.progress,
            session=session.uuid if session is not None else None,
            created=bool(job.result.get("created")),
            error=job.error_message,
        )


@router.get("/sessions/{uuid}/archive", response={200: bytes, 404: Problem})
def get_archive(
    request: HttpRequest, uuid: UUID, snapshots: bool = True, context: bool = True, reason: Reason = ""
) -> HttpResponseBase:
    """The session as one file (tar). Without its context it has no snapshots either. An archive that ends early has no
    `checksums.json`, and is refused when it is imported. `reason`: why, where the policy of the organisation asks."""
    session = session_for(request.user, uuid)
    chosen = Options(context=context, snapshots=snapshots)
    actor, host = actor_of(request.user, "api"), request.get_host()
    chunks = export_session(session, chosen, actor=actor, installation=host, reason=reason)
    return archive_response(chunks, archive_name(session))


@router.post("/archives/uploads", response={201: UploadOut, 404: Problem, 422: Problem})
def begin_archive(request: HttpRequest, body: NewArchive) -> Status[UploadOut]:
    """Begin to upload an archive; its parts go to `PUT /contexts/uploads/part`, like those of every upload."""
    assert isinstance(request.user, User)
    team = get_object_or_404(teams_to_start_in(request.user), uuid=body.team or team_for(request.user).uuid)
    begun = uploads.begin(user=request.user.pk, team=team.pk, name=body.name, kind=KIND, size_bytes=body.size_bytes)
    return Status(201, UploadOut(ticket=begun.ticket, part_bytes=uploads.PART_BYTES))


@router.post("/archives/imports", response={201: ImportOut, 404: Problem, 422: Problem})
def create_import(request: HttpRequest, ticket: Ticket, again: bool = False) -> Status[ImportOut]:
    """Import what was uploaded, on a worker. The same archive a second time gives the session that is there, unless
    `again`."""
    assert isinstance(request.user, User)
    upload = uploads.find(ticket, user=request.user.pk)
    team = get_object_or_404(teams_to_start_in(request.user), pk=upload.team)
    job = start_import(upload, actor=actor_of(request.user, "api"), team=team, again=again)
    return Status(201, ImportOut.of(job))


@router.get("/archives/imports/{uuid}", response={200: ImportOut, 404: Problem})
def get_import(request: HttpRequest, uuid: UUID) -> ImportOut:
    """Yours only."""
    job = Job.objects.filter(uuid=uuid, kind=IMPORT, created_by=actor_of(request.user, "api").user).first()
    if job is None:
        raise Http404
    return ImportOut.of(job)
