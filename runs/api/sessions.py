"""Sessions over the API: started, read, stopped, deleted."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Status

from runs.access import actor_of, context_for, credentials_of, session_for, sessions_of, teams_to_start_in
from runs.api.schemas import NewSession, NodeOut, Problem, SessionOut, SessionPage, Stopped, StopRequest
from runs.events.read import read_lines
from runs.models import Node, Session
from runs.queries import SessionFilter, filtered, page_of
from runs.services.config_check import check_config, config_from_outside
from runs.services.contexts import ContextError
from runs.services.sessions import start_session, stop_session
from runs.store.deleting import delete_session
from runs.text import scrub

Rows = Annotated[int, Field(ge=1, le=200)]
NodeRows = Annotated[int, Field(ge=1, le=10_000)]
EventRows = Annotated[int, Field(ge=1, le=5_000)]
Key = Annotated[int, Field(ge=0, le=2**63 - 1)]
NodeKey = Annotated[int, Field(ge=-1, le=2**31 - 1)]
StatusName = Literal["", "running", "finished", "limited", "stopped", "failed"]
router = Router(tags=["sessions"])


@router.post("", response={201: SessionOut, 404: Problem, 422: Problem, 429: Problem})
def create_session(request: HttpRequest, body: NewSession) -> Status[SessionOut]:
    """Start a session in the team of its context. It runs on the workers; read its events or poll its status."""
    config = config_from_outside(body.config)
    context = context_for(request.user, body.context)
    team = get_object_or_404(teams_to_start_in(request.user), uuid=body.team or context.team.uuid)
    if context.team_id != team.pk:
        raise ContextError("The context belongs to another team. Store it in this one first.")
    check_config(config, credentials_of(request.user).filter(team=team))
    session = start_session(
        actor=actor_of(request.user, "api"),
        team=team,
        question=scrub(body.question),
        context=context,
        config=config,
        title=scrub(body.title),
    )
    return Status(201, SessionOut.of(session_for(request.user, session.uuid)))


@router.get("", response=SessionPage)
def list_sessions(
    request: HttpRequest,
    before: Key | None = None,
    status: StatusName = "",
    text: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = "",
    limit: Rows = 50,
) -> SessionPage:
    """Newest first. `text` is looked for in title, question and answer."""
    found = filtered(sessions_of(request.user), SessionFilter(status, text)).defer(None)
    page = page_of(found, before, limit)
    return SessionPage(sessions=[SessionOut.of(row) for row in page.sessions], next=page.next)


@router.get("/{uuid}", response={200: SessionOut, 404: Problem})
def get_session(request: HttpRequest, uuid: UUID) -> SessionOut:
    """The session with what its whole tree has used so far."""
    return SessionOut.of(session_for(request.user, uuid))


@router.delete("/{uuid}", response={204: None, 404: Problem, 409: Problem})
def remove_session(request: HttpRequest, uuid: UUID) -> Status[None]:
    """Delete a session that is over, with the branches of its rollouts. Forks of it live on."""
    delete_session(session_for(request.user, uuid, "delete"), actor=actor_of(request.user, "api"))
    return Status(204, None)


@router.get("/{uuid}/nodes", response={200: list[NodeOut], 404: Problem})
def list_nodes(request: HttpRequest, uuid: UUID, after: NodeKey = -1, limit: NodeRows = 1000) -> list[NodeOut]:
    """Recursion nodes by number, `after` exclusive."""
    session = session_for(request.user, uuid)
    nodes = Node.objects.filter(session=session, number__gt=after).select_related("parent").order_by("number")
    return [NodeOut.of(node) for node in nodes[:limit]]


@router.get("/{uuid}/events", response={404: Problem})
def list_events(
    request: HttpRequest,
    uuid: UUID,
    after: Key = 0,
    limit: EventRows = 1000,
    format: Literal["json", "ndjson"] = "json",
) -> HttpResponse:
    """Events past `after` in order, as they are stored.

    `json`: `{"events": [...], "last": N}`, where `last` is the newest there is. `ndjson`: one event a line, and the
    newest in the header `X-Last-Seq`. Ask again with `after` set to the last `seq` you have.
    """
    session = session_for(request.user, uuid)
    texts = [line.text for line in read_lines(session.pk, after, limit=limit)]
    return _ndjson(session, texts) if format == "ndjson" else _json(session, texts)


@router.post("/{uuid}/stop", response={200: Stopped, 404: Problem})
def stop(request: HttpRequest, uuid: UUID, body: StopRequest) -> Stopped:
    """Stop the session, or the subtree of one node. Idempotent."""
    session = session_for(request.user, uuid, "stop")
    if not Node.objects.filter(session=session, number=body.node).exists():
        raise Http404
    return Stopped(stopped=stop_session(session, actor=actor_of(request.user, "api"), node=body.node))


def _json(session: Session, texts: list[str]) -> HttpResponse:
    # Stored text is sent as it stands: parsing and writing it again is what would limit a replay.
    body = f'{{"events":[{",".join(texts)}],"last":{session.meter.last_seq}}}'
    return HttpResponse(body, content_type="application/json")


def _ndjson(session: Session, texts: list[str]) -> HttpResponse:
    response = HttpResponse("".join(f"{text}\n" for text in texts), content_type="application/x-ndjson")
    response["X-Last-Seq"] = str(session.meter.last_seq)
    return response
