"""Forking a session from a step: the form shows what was recorded, and what is changed in it makes the fork."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runs.access import actor_of, credentials_of, session_for, sessions_of
from runs.models import Node, NodeMessage, Session, Step
from runs.replay.changes import Changes, VariableChange
from runs.replay.forks import CannotFork, fork_session
from runs.replay.forks.lineage import lineage_of
from runs.replay.forks.past import conversation_at
from runs.services.config import InvalidConfig, config_to_plain
from runs.services.config_check import check_config, config_from_outside
from runs.services.snapshots.reading import SnapshotError, manifest_of, snapshot_of
from runs.text import scrub
from sandboxes.manifest import Manifest

MAX_VARIABLES = 20
MAX_FIELD_CHARS = 1_000_000


@dataclass(slots=True)
class Prefilled:
    """What was recorded: the fields of the form before anything is changed."""

    title: str
    question: str
    system_prompt: str
    reply: str
    config: str
    messages: list[NodeMessage] = field(default_factory=list)
    manifest: Manifest | None = None
    problem: str = ""
    way_out: str = ""


@never_cache
@login_required
def fork_new(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    session = session_for(request.user, uuid, "evaluate")
    top = Node.objects.filter(session=session, number=node).first()
    if top is None or (step and not Step.objects.filter(node=top, number=step).exists()):
        raise Http404
    recorded = _prefilled(session, top, step)
    given: dict[str, Any] = {}
    error = ""
    if request.method == "POST":
        given = {name: scrub(str(value).replace("\r\n", "\n")) for name, value in request.POST.items()}
        try:
            return redirect("runs:session", uuid=_fork(request, session, top, step, recorded, given).uuid)
        except (CannotFork, InvalidConfig) as refused:
            error = str(refused)
        except SnapshotError as refused:
            error = f"{refused}. {refused.way_out}"
    context = {
        "session": session,
        "node": node,
        "step": step,
        "recorded": recorded,
        "given": given,
        "error": error,
        "messages_shown": [(row, given.get(f"message-{row.position}", row.content)) for row in recorded.messages],
        "variables": _variable_rows(given),
        "is_child": top.parent_id is not None,
    }
    return render(request, "runs/fork.html", context, status=422 if error else 200)


@never_cache
@login_required
@require_safe
def lineage(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid)
    rows = lineage_of(session, sessions_of(request.user))
    return render(request, "runs/lineage.html", {"session": session, "rows": rows})


def _fork(
    request: HttpRequest, session: Session, top: Node, step: int, recorded: Prefilled, given: dict[str, Any]
) -> Session:
    config = None
    if given.get("config", recorded.config).strip() != recorded.config.strip():
        try:
            plain = json.loads(given["config"])
        except ValueError as error:
            raise InvalidConfig(f"The configuration is not JSON: {error}") from error
        checked = config_from_outside(plain)
        check_config(checked, credentials_of(request.user).filter(team=session.team))
        config = config_to_plain(checked)
    changes = Changes(
        reply=_changed(given, "reply", recorded.reply) or None,
        question=_changed(given, "question", recorded.question),
        system_prompt=_changed(given, "system_prompt", recorded.system_prompt),
        messages={
            row.position: text
            for row in recorded.messages
            if (text := _changed(given, f"message-{row.position}", row.content)) is not None
        },
        variables=[
            VariableChange(name, expression) for name, expression in _variable_rows(given) if name or expression
        ],
        config=config,
    )
    return fork_session(
        actor=actor_of(request.user, "web"),
        team=session.team,
        source=session,
        node=top.number,
        step=step,
        changes=changes,
        title=given.get("title", ""),
    )


def _changed(given: dict[str, Any], name: str, before: str) -> str | None:
    """What was typed into a field, if it is not what stood there."""
    text = given.get(name)
    if text is None or text.strip("\n") == before.replace("\r\n", "\n").strip("\n"):
        return None
    if len(text) > MAX_FIELD_CHARS:
        raise CannotFork(f"{name} has {len(text):,} characters; the most is {MAX_FIELD_CHARS:,}.")
    return str(text)


def _variable_rows(given: dict[str, Any]) -> list[tuple[str, str]]:
    """As many rows as were filled in, and one more to fill in."""
    rows = [
        (given.get(f"variable-{n}", "").strip(), given.get(f"expression-{n}", "").strip()) for n in range(MAX_VARIABLES)
    ]
    filled = [row for row in rows if any(row)]
    return [*filled, *[("", "")] * (3 if not filled else 1)][:MAX_VARIABLES]


def _prefilled(session: Session, top: Node, step: int) -> Prefilled:
    rows = conversation_at(top, step)
    following = Step.objects.filter(node=top, number=step + 1).first()
    system = rows[0].content if rows and rows[0].role == "system" else session.config.get("system_prompt") or ""
    recorded = Prefilled(
        title=session.title,
        question=session.question,
        system_prompt=system,
        reply=str(following.state.get("reply", "")) if following is not None else "",
        config=json.dumps(session.config, indent=2, ensure_ascii=False),
        messages=[row for row in rows if row.role != "system"],
    )
    snapshot = snapshot_of(session, top.number, step) if step else None
    if snapshot is not None:
        try:
            recorded.manifest = manifest_of(snapshot)
        except SnapshotError as error:
            recorded.problem, recorded.way_out = str(error), error.way_out
    return recorded
