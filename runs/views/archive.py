"""Sessions as files: the download of one, and the pages that import one."""

from __future__ import annotations

from typing import IO, Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from rlmweb.teams.models import Team
from runs import uploads
from runs.access import actor_of, session_for, team_for, teams_to_start_in
from runs.models import Job
from runs.replay.archive.exporting import export_session
from runs.replay.archive.responses import archive_response
from runs.replay.archive.running import IMPORT, KIND, session_of, start_import
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import archive_name
from runs.services.jobs import stop_job
from runs.text import scrub
from runs.uploads import Upload, UploadError, WrongOffset


@login_required
@require_GET
def session_archive(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """The session as one file. `leave_out`: `snapshots`, `context`, or both; `reason`: why, where a policy asks."""
    session = session_for(request.user, uuid)
    left_out = request.GET.getlist("leave_out")
    chosen = Options(context="context" not in left_out, snapshots="snapshots" not in left_out)
    actor = actor_of(request.user, "web")
    reason = scrub(request.GET.get("reason", ""))
    chunks = export_session(session, chosen, actor=actor, installation=request.get_host(), reason=reason)
    return archive_response(chunks, archive_name(session))


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def session_import(request: HttpRequest) -> HttpResponse:
    """The form. With JavaScript the file is sent in parts, and `import_finish` ends it; without, it comes here whole."""
    team_for(request.user)
    problem = ""
    if request.method == "POST":
        try:
            return redirect("runs:import", uuid=_start(request, _received(request)).uuid)
        except UploadError as error:
            problem = str(error)
    context = {
        "problem": problem,
        "teams": teams_to_start_in(request.user),
        "upload_max_bytes": settings.UPLOAD_MAX_BYTES,
        "kind": KIND,
    }
    return render(request, "runs/import.html", context, status=422 if problem else 200)


@never_cache
@login_required
@require_POST
def import_finish(request: HttpRequest) -> JsonResponse:
    """Every part has arrived: the answer says where to watch the import."""
    try:
        upload = uploads.find(request.headers.get("Upload-Ticket", ""), user=_user_pk(request))
        if not upload.complete:
            raise WrongOffset(upload.received_bytes)
        job = _start(request, upload)
    except WrongOffset as error:
        return JsonResponse({"message": str(error), "received_bytes": error.received_bytes}, status=409)
    except UploadError as error:
        return JsonResponse({"message": str(error)}, status=422)
    return JsonResponse({"address": reverse("runs:import", args=[job.uuid])}, status=201)


@never_cache
@login_required
@require_GET
def import_job(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = _job_for(request, uuid)
    context: dict[str, Any] = {
        "job": job,
        "running": job.status in (Job.Status.READY, Job.Status.RUNNING),
        "session": session_of(job),
    }
    part = request.headers.get("HX-Request") == "true"
    return render(request, "runs/_import_job.html" if part else "runs/import_job.html", context)


@login_required
@require_POST
def import_stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = _job_for(request, uuid)
    stop_job(job, actor=actor_of(request.user, "web"))
    return redirect("runs:import", uuid=job.uuid)


def _start(request: HttpRequest, upload: Upload) -> Job:
    again = request.POST.get("again") == "on"
    return start_import(upload, actor=actor_of(request.user, "web"), team=_team(request), again=again)


def _received(request: HttpRequest) -> Upload:
    """The file of a form that was sent whole, as an upload. Raises `UploadError`."""
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or file.size is None:
        raise UploadError("Choose the file of an exported session.")
    upload = uploads.begin(
        user=_user_pk(request), team=_team(request).pk, name=file.name or "", kind=KIND, size_bytes=file.size
    )
    try:
        while not upload.complete:
            uploads.take_part(upload, upload.received_bytes, _Part(cast("IO[bytes]", file)))
    except BaseException:
        uploads.cancel(upload)
        raise
    return upload


class _Part:
    """As much of a file as one part may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = uploads.PART_BYTES

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def _team(request: HttpRequest) -> Team:
    """The chosen one, if the person may start sessions there; else the first. Raises `Http404`."""
    slug = request.POST.get("team", "")
    return get_object_or_404(teams_to_start_in(request.user), slug=slug) if slug else team_for(request.user)


def _job_for(request: HttpRequest, uuid: UUID) -> Job:
    """Yours only: before it is done nobody else knows of it. Raises `Http404`."""
    user = actor_of(request.user, "web").user
    job = Job.objects.filter(uuid=uuid, kind=IMPORT, created_by=user).first()
    if job is None:
        raise Http404
    return job


def _user_pk(request: HttpRequest) -> int:
    user = actor_of(request.user, "web").user
    assert user is not None
    return user.pk
