"""Forking a session from a step: the form shows what was recorded, and what is changed in it makes the fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import actor_of, credentials_of, session_for, sessions_of
from runs.fork_form import ForkForm
from runs.form_words import words_of
from runs.models import Node, Session, Step
from runs.replay.changes import Changes
from runs.replay.forks import CannotFork, fork_session
from runs.replay.forks.differences import differences_of
from runs.replay.forks.lineage import lineage_of
from runs.replay.forks.past import recorded_at
from runs.replay.forks.variables import code_of, try_changes
from runs.replay.inspect.errors import InspectError
from runs.replay.inspect.slots import slots
from runs.services.config import InvalidConfig, config_from_plain
from runs.services.snapshots.reading import SnapshotError, manifest_of, require_snapshot, snapshot_of
from sandboxes.errors import SandboxError
from sandboxes.manifest import Manifest


@dataclass(slots=True)
class Place:
    """What is forked."""

    session: Session
    top: Node
    step: int


@never_cache
@login_required
def fork_new(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    place = _place(request, uuid, node, step)
    form = _form(request, place)
    error = ""
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("runs:session", uuid=_fork(request, place, form).uuid)
        except (CannotFork, InvalidConfig, PolicyRefused, QuotaExceeded) as refused:
            error = str(refused)
        except SnapshotError as refused:
            error = f"{refused}. {refused.way_out}"
        except (InspectError, SandboxError) as refused:
            error = f"The changed variables could not be tried: {refused}"
    manifest, problem = _manifest(place)
    context = {
        "session": place.session,
        "node": node,
        "step": step,
        "form": form,
        "error": error,
        "manifest": manifest,
        "problem": problem,
        "is_child": place.top.parent_id is not None,
        **_changes_shown(place, form),
    }
    return render(request, "runs/fork.html", context, status=422 if error or form.errors else 200)


@never_cache
@login_required
@require_POST
def fork_changes(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    """The list of what the form as it stands would change."""
    place = _place(request, uuid, node, step)
    return render(request, "runs/_fork_changes.html", _changes_shown(place, _form(request, place)))


@never_cache
@login_required
@require_safe
def lineage(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid)
    rows = lineage_of(session, sessions_of(request.user))
    return render(request, "runs/lineage.html", {"session": session, "rows": rows})


def _place(request: HttpRequest, uuid: UUID, node: int, step: int) -> Place:
    session = session_for(request.user, uuid, "evaluate")
    top = Node.objects.filter(session=session, number=node).select_related("session").first()
    if top is None or (step and not Step.objects.filter(node=top, number=step).exists()):
        raise Http404
    return Place(session, top, step)


def _form(request: HttpRequest, place: Place) -> ForkForm:
    session = place.session
    return ForkForm(
        request.POST if request.method == "POST" else None,
        past=recorded_at(place.top, place.step),
        recorded=config_from_plain(session.config),
        credentials=credentials_of(request.user).filter(team=session.team),
    )


def _changes_shown(place: Place, form: ForkForm) -> dict[str, Any]:
    """Of the template: `differences`, or `problems` for what cannot be read yet."""
    if not form.is_bound:
        return {"differences": []}
    problems = [
        (str(form.fields[name].label or name) if name in form.fields else "", str(message))
        for name, messages in form.errors.items()
        for message in messages
    ]
    if problems:
        return {"problems": problems}
    changes = form.changes()
    found = differences_of(changes, place.session.config, form.past.texts())
    title = [("Title", form.past.title, form.cleaned_data["title"])] if form.touched("title") else []
    try:
        code_of(changes.variables)
    except CannotFork as refused:
        problems = [("", str(refused))]
    return {
        "differences": [*title, *((words_of(each.what), each.before, each.after) for each in found)],
        "problems": problems,
    }


def _fork(request: HttpRequest, place: Place, form: ForkForm) -> Session:
    changes = form.changes()
    _try_variables(request, place, changes)
    return fork_session(
        actor=actor_of(request.user, "web"),
        team=place.session.team,
        source=place.session,
        node=place.top.number,
        step=place.step,
        changes=changes,
        title=form.cleaned_data["title"],
    )


def _try_variables(request: HttpRequest, place: Place, changes: Changes) -> None:
    """Before anything is started: say which change fails, in the form, with what was typed still there."""
    code_of(changes.variables)
    if not changes.variables or not place.step:
        return  # without a step, the fork itself says that there is nothing to change
    snapshot = require_snapshot(place.session, place.top.number, place.step)
    with slots.taken(request.user.pk or 0):
        try_changes(snapshot, changes.variables)


def _manifest(place: Place) -> tuple[Manifest | None, str]:
    """The snapshot's, or why it cannot be used."""
    snapshot = snapshot_of(place.session, place.top.number, place.step) if place.step else None
    if snapshot is None:
        return None, ""
    try:
        return manifest_of(snapshot), ""
    except SnapshotError as error:
        return None, f"{error}. {error.way_out}"
