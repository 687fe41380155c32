"""The operations. Each is a few lines: access, one service or query, one answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Field, NinjaAPI, Status

from runs.access import actor_of, context_for, contexts_of, session_for, sessions_of, team_for, teams_to_start_in
from runs.api.auth import AUTH
from runs.api.schemas import (
    ContextOut,
    NewContext,
    NewSession,
    NodeOut,
    Problem,
    SessionOut,
    SessionPage,
    Stopped,
    StopRequest,
)
from runs.events.read import read_lines
from runs.models import Node
from runs.services.config import InvalidConfig, config_from_plain
from runs.services.contexts import ContextError, context_from_text
from runs.services.sessions import start_session, stop_session

Rows = Annotated[int, Field(ge=1, le=200)]
NodeRows = Annotated[int, Field(ge=1, le=10_000)]
EventRows = Annotated[int, Field(ge=1, le=5_000)]

api = NinjaAPI(title="rlmweb", version="1", urls_namespace="api", auth=AUTH, docs_url="/docs")


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    problem = Problem(type="not_found", message="There is no such thing, or it is not yours.")
    return api.create_response(request, problem, status=404)


@api.exception_handler(InvalidConfig)
@api.exception_handler(ContextError)
def _bad_input(request: HttpRequest, error: Exception) -> HttpResponse:
    kind = "invalid_config" if isinstance(error, InvalidConfig) else "invalid_context"
    return api.create_response(request, Problem(type=kind, message=str(error)), status=422)


@api.post("/contexts", response={201: ContextOut, 422: Problem})
def create_context(request: HttpRequest, body: NewContext) -> Status[ContextOut]:
    """Store a text as a context. Larger ones are uploaded with `PUT /contexts/upload`."""
    team = team_for(request.user)
    context = context_from_text(body.text, actor=actor_of(request.user, "api"), team=team, name=body.name)
    return Status(201, ContextOut.of(context))


@api.get("/contexts", response=list[ContextOut])
def list_contexts(request: HttpRequest, limit: Rows = 50) -> list[ContextOut]:
    return [ContextOut.of(context) for context in contexts_of(request.user)[:limit]]


@api.post("/sessions", response={201: SessionOut, 404: Problem, 422: Problem})
def create_session(request: HttpRequest, body: NewSession) -> Status[SessionOut]:
    """Start a session. It runs on the workers; read its events or poll its status."""
    config = config_from_plain(body.config)
    team = team_for(request.user)
    if body.team is not None:
        team = get_object_or_404(teams_to_start_in(request.user), uuid=body.team)
    session = start_session(
        actor=actor_of(request.user, "api"),
        team=team,
        question=body.question,
        context=context_for(request.user, body.context),
        config=config,
        title=body.title,
    )
    return Status(201, SessionOut.of(session_for(request.user, session.uuid)))


@api.get("/sessions", response=SessionPage)
def list_sessions(
    request: HttpRequest, before: int | None = None, status: str = "", limit: Rows = 50
) -> SessionPage:
    """Newest first."""
    found = sessions_of(request.user).select_related("context", "meter").order_by("-pk")
    if status:
        found = found.filter(status=status)
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found[: limit + 1])
    more = rows[limit - 1].pk if len(rows) > limit else None
    return SessionPage(sessions=[SessionOut.of(row) for row in rows[:limit]], next=more)


@api.get("/sessions/{uuid}", response={200: SessionOut, 404: Problem})
def get_session(request: HttpRequest, uuid: UUID) -> SessionOut:
    return SessionOut.of(session_for(request.user, uuid))


@api.get("/sessions/{uuid}/nodes", response={200: list[NodeOut], 404: Problem})
def list_nodes(request: HttpRequest, uuid: UUID, after: int = -1, limit: NodeRows = 1000) -> list[NodeOut]:
    """Recursion nodes by number, `after` exclusive."""
    session = session_for(request.user, uuid)
    nodes = Node.objects.filter(session=session, number__gt=after).select_related("parent").order_by("number")
    return [NodeOut.of(node) for node in nodes[:limit]]


@api.get("/sessions/{uuid}/events", response={404: Problem})
def list_events(request: HttpRequest, uuid: UUID, after: int = 0, limit: EventRows = 1000) -> HttpResponse:
    """`{"events": [...], "last": N}`: events past `after` in order, as they are stored; `last` is the newest there is."""
    session = session_for(request.user, uuid)
    events = ",".join(line.text for line in read_lines(session.pk, after, limit=limit))
    body = f'{{"events":[{events}],"last":{session.meter.last_seq}}}'
    return HttpResponse(body, content_type="application/json")


@api.post("/sessions/{uuid}/stop", response={200: Stopped, 404: Problem})
def stop(request: HttpRequest, uuid: UUID, body: StopRequest) -> Stopped:
    """Stop the session, or the subtree of one node. Idempotent."""
    session = session_for(request.user, uuid, "stop")
    if not Node.objects.filter(session=session, number=body.node).exists():
        raise Http404
    return Stopped(stopped=stop_session(session, actor=actor_of(request.user, "api"), node=body.node))
