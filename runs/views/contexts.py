"""Uploads in parts, as `static/js/start/upload.js` sends them, and the preview of a context."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.teams.models import Team
from runs import uploads
from runs.access import actor_of, context_for, team_for, teams_to_start_in
from runs.services.contexts import ContextError, context_from_file, preview_of
from runs.uploads import Upload, UploadError, WrongOffset

View = Callable[[HttpRequest], JsonResponse]


def _for_uploads(view: View) -> Callable[..., HttpResponse]:
    """Signed in, POST, and an error as JSON that the page can show next to the field."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except WrongOffset as error:
            return JsonResponse({"message": str(error), "received_bytes": error.received_bytes}, status=409)
        except (UploadError, ContextError) as error:
            return JsonResponse({"message": str(error)}, status=422)

    return login_required(require_POST(never_cache(checked)))


@_for_uploads
def upload_begin(request: HttpRequest) -> JsonResponse:
    """Form fields `name`, `size_bytes`, `kind`. The answer's `ticket` names the upload from here on."""
    team, size = team_for(request.user), request.POST.get("size_bytes", "")
    if not (size.isascii() and size.isdecimal() and len(size) < 20):
        raise UploadError("The size of the file is missing.")
    upload = uploads.begin(
        user=_user_pk(request),
        team=team.pk,
        name=request.POST.get("name", "")[:255],
        kind=request.POST.get("kind", ""),
        size_bytes=int(size),
    )
    return JsonResponse({"ticket": upload.ticket, "part_bytes": uploads.PART_BYTES}, status=201)


@_for_uploads
def upload_part(request: HttpRequest) -> JsonResponse:
    """The body is the part; the headers `Upload-Ticket` and `Upload-Offset` say of what, and where."""
    offset = request.headers.get("Upload-Offset", "")
    if not (offset.isascii() and offset.isdecimal() and len(offset) < 20):
        raise UploadError("The position of the part is missing.")
    return JsonResponse({"received_bytes": uploads.take_part(_upload(request), int(offset), request)})


@_for_uploads
def upload_finish(request: HttpRequest) -> JsonResponse:
    """Everything has arrived: store it as a context."""
    upload = _upload(request)
    if not upload.complete:
        raise WrongOffset(upload.received_bytes)
    try:
        context = context_from_file(
            upload.path,
            actor=actor_of(request.user, "web"),
            team=_team(request, upload),
            name=upload.name,
            source="upload",
            kind=upload.kind,
        )
    finally:
        uploads.cancel(upload)
    return JsonResponse({"context": str(context.uuid)}, status=201)


@_for_uploads
def upload_cancel(request: HttpRequest) -> JsonResponse:
    uploads.cancel(_upload(request))
    return JsonResponse({})


@never_cache
@login_required
@require_GET
def context_preview(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What the start form shows of a context before the session starts."""
    context = context_for(request.user, uuid)
    return render(request, "runs/_context.html", {"material": context, "preview": preview_of(context)})


def _upload(request: HttpRequest) -> Upload:
    return uploads.find(request.headers.get("Upload-Ticket", ""), user=_user_pk(request))


def _team(request: HttpRequest, upload: Upload) -> Team:
    """Asked again at the end: the person may have left the team since the upload began."""
    return teams_to_start_in(request.user).filter(pk=upload.team).first() or team_for(request.user)


def _user_pk(request: HttpRequest) -> int:
    user = actor_of(request.user, "web").user
    assert user is not None
    return user.pk
