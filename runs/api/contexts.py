"""Contexts over the API: given as text, uploaded, taken from where the server allows, or built as an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja import Field, Header, Query, Router, Status
from ninja.errors import HttpError

from rlmweb.teams.models import Team
from runs import uploads
from runs.access import Actor, actor_of, context_for, contexts_of, team_for
from runs.api.schemas import (
    ContextOut,
    ContextPage,
    ExampleOut,
    NewContext,
    NewExample,
    NewFromPath,
    NewFromUrl,
    NewUpload,
    Problem,
    UploadOut,
    UploadState,
)
from runs.blobs import CHUNK_BYTES
from runs.services.contexts import (
    context_from_chunks,
    context_from_example,
    context_from_file,
    context_from_path,
    context_from_text,
    context_from_url,
)

SINGLE_UPLOAD_BYTES = 64 * 1024 * 1024
"""Largest body of one request: the web server keeps it in memory. More than that is sent in parts."""

Rows = Annotated[int, Field(ge=1, le=200)]
Key = Annotated[int, Field(ge=0, le=2**63 - 1)]
Kind = Annotated[str, Query(pattern="^(text|json|bytes)?$")]
Ticket = Annotated[str, Header(alias="Upload-Ticket")]
router = Router(tags=["contexts"])


@router.get("", response=ContextPage)
def list_contexts(request: HttpRequest, before: Key | None = None, limit: Rows = 50) -> ContextPage:
    """Newest first."""
    found = contexts_of(request.user).order_by("-pk")
    rows = list((found if before is None else found.filter(pk__lt=before))[: limit + 1])
    more = rows[limit - 1].pk if len(rows) > limit else None
    return ContextPage(contexts=[ContextOut.of(row) for row in rows[:limit]], next=more)


@router.post("", response={201: ContextOut, 422: Problem})
def create_context(request: HttpRequest, body: NewContext) -> Status[ContextOut]:
    """Store a text. Files are uploaded with `PUT /contexts/upload`, large ones in parts."""
    actor, team = _who(request)
    return Status(
        201, ContextOut.of(context_from_text(body.text, actor=actor, team=team, name=body.name, kind=body.kind))
    )


@router.put("/upload", response={201: ContextOut, 413: Problem, 422: Problem})
def upload(
    request: HttpRequest, name: Annotated[str, Field(max_length=255)] = "upload", kind: Kind = ""
) -> Status[ContextOut]:
    """The body of the request is the file (`curl --upload-file`), up to 64 MiB; larger ones go in parts."""
    if int(request.headers.get("Content-Length") or 0) > SINGLE_UPLOAD_BYTES:
        raise HttpError(
            413, f"More than {SINGLE_UPLOAD_BYTES:,} bytes have to be sent in parts: POST /contexts/uploads."
        )
    actor, team = _who(request)
    chunks = _body(request)
    return Status(
        201,
        ContextOut.of(context_from_chunks(chunks, actor=actor, team=team, name=name, source="upload", kind=kind)),
    )


@router.post("/uploads", response={201: UploadOut, 422: Problem})
def begin_upload(request: HttpRequest, body: NewUpload) -> Status[UploadOut]:
    """Begin an upload in parts. The `ticket` names it from here on."""
    _, team = _who(request)
    begun = uploads.begin(user=_pk(request), team=team.pk, name=body.name, kind=body.kind, size_bytes=body.size_bytes)
    return Status(201, UploadOut(ticket=begun.ticket, part_bytes=uploads.PART_BYTES))


@router.put("/uploads/part", response={200: UploadState, 409: Problem, 422: Problem})
def upload_part(request: HttpRequest, ticket: Ticket, offset: Key) -> UploadState:
    """The body is the part that begins at byte `offset`. 409 says in its hint where to go on."""
    return UploadState(received_bytes=uploads.take_part(_upload(request, ticket), offset, request))


@router.post("/uploads/finish", response={201: ContextOut, 409: Problem, 422: Problem})
def finish_upload(request: HttpRequest, ticket: Ticket) -> Status[ContextOut]:
    """Every byte has arrived: store the file as a context."""
    found = _upload(request, ticket)
    if not found.complete:
        raise uploads.WrongOffset(found.received_bytes)
    actor, team = _who(request)
    try:
        context = context_from_file(
            found.path, actor=actor, team=team, name=found.name, source="upload", kind=found.kind
        )
    finally:
        uploads.cancel(found)
    return Status(201, ContextOut.of(context))


@router.post("/path", response={201: ContextOut, 422: Problem})
def create_from_path(request: HttpRequest, body: NewFromPath) -> Status[ContextOut]:
    """Take a file of the server, from the folders that the installation allows."""
    actor, team = _who(request)
    return Status(201, ContextOut.of(context_from_path(body.path, actor=actor, team=team, kind=body.kind)))


@router.post("/url", response={201: ContextOut, 422: Problem})
def create_from_url(request: HttpRequest, body: NewFromUrl) -> Status[ContextOut]:
    """Fetch a file from a host that the installation allows."""
    actor, team = _who(request)
    return Status(201, ContextOut.of(context_from_url(body.url, actor=actor, team=team, kind=body.kind)))


@router.post("/example", response={201: ExampleOut, 422: Problem})
def create_example(request: HttpRequest, body: NewExample) -> Status[ExampleOut]:
    """Build an example task. Put its `tag` into the configuration as `example`, and the answer will be judged."""
    actor, team = _who(request)
    context, built = context_from_example(
        body.slug, actor=actor, team=team, seed=body.seed, size_bytes=body.size_bytes, question_kind=body.question_kind
    )
    example = ExampleOut(
        context=ContextOut.of(context), question=built.question, expected=built.answer, tag=built.tag, note=built.note
    )
    return Status(201, example)


@router.get("/{uuid}", response={200: ContextOut, 404: Problem})
def get_context(request: HttpRequest, uuid: UUID) -> ContextOut:
    return ContextOut.of(context_for(request.user, uuid))


def _who(request: HttpRequest) -> tuple[Actor, Team]:
    """Raises `Http404` for people who may not start sessions: contexts are for that."""
    return actor_of(request.user, "api"), team_for(request.user)


def _pk(request: HttpRequest) -> int:
    assert isinstance(request.user, User)
    return request.user.pk


def _upload(request: HttpRequest, ticket: str) -> uploads.Upload:
    return uploads.find(ticket, user=_pk(request))


def _body(request: HttpRequest) -> Iterator[bytes]:
    while chunk := request.read(CHUNK_BYTES):
        yield chunk
