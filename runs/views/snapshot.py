"""What a step left behind: its variables, what changed, one of them over the steps, expressions, downloads."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from runs.access import actor_of, may, session_for
from runs.replay.inspect.differences import difference
from runs.replay.inspect.downloads import FORMS, MAX_DOWNLOAD_BYTES, download
from runs.replay.inspect.errors import BadRequest, InspectError
from runs.replay.inspect.evaluation import DEFAULT_TIMEOUT_S, MAX_OUTPUT_BYTES, MAX_TIMEOUT_S, evaluate
from runs.replay.inspect.problems import Problem, problem_of
from runs.replay.inspect.responses import download_response
from runs.replay.inspect.states import NoSuchStep, StepState, step_state, usable_state, variable_timeline
from runs.services.snapshots.reading import SnapshotError
from runs.text import scrub
from sandboxes.errors import SandboxError

MAX_ROWS = 500
MAX_FILES = 500
NAME_CHARS = 200


@never_cache
@login_required
@require_safe
def snapshot(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    session = session_for(request.user, uuid)
    try:
        state = step_state(session, node, step)
    except NoSuchStep:
        raise Http404 from None
    wanted = scrub(request.GET.get("q", ""))[:NAME_CHARS]
    rows = [row for row in state.rows if wanted.casefold() in row.name.casefold()]
    files = state.manifest.files if state.manifest is not None else []
    context = {
        "state": state,
        "session": session,
        "rows": rows[:MAX_ROWS],
        "rows_left_out": max(0, len(rows) - MAX_ROWS),
        "changed": sum(1 for row in state.rows if row.change in ("added", "changed", "deleted")),
        "not_held": [row for row in state.rows if row.reason],
        "files": files[:MAX_FILES],
        "files_left_out": max(0, len(files) - MAX_FILES),
        "wanted": wanted,
        "looked_at": scrub(request.GET.get("variable", ""))[:NAME_CHARS],
        "may_evaluate": may(request.user, session, "evaluate"),
        "forms": FORMS,
        "limits": {
            "timeout_s": DEFAULT_TIMEOUT_S,
            "max_timeout_s": MAX_TIMEOUT_S,
            "output_bytes": MAX_OUTPUT_BYTES,
            "download_bytes": MAX_DOWNLOAD_BYTES,
        },
    }
    return render(request, "runs/snapshot.html", context)


@never_cache
@login_required
@require_safe
def snapshot_timeline(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    """One variable over the steps of the node, as a strip; nothing runs for it."""
    session = session_for(request.user, uuid)
    name = scrub(request.GET.get("name", ""))[:NAME_CHARS]
    points = variable_timeline(session, node, name)
    context = {"session": session, "node": node, "step": step, "name": name, "points": points}
    return render(request, "runs/_snapshot_timeline.html", context)


def _looking(view: Callable[[HttpRequest, StepState], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A POST that keeps a sandbox busy: for those who may start sessions."""

    @wraps(view)
    def checked(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponseBase:
        session = session_for(request.user, uuid, "evaluate")
        try:
            return view(request, usable_state(session, node, step))
        except NoSuchStep:
            raise Http404 from None
        except (InspectError, SnapshotError, SandboxError) as error:
            problem = problem_of(error)
            return _said(request, problem, reverse("runs:snapshot", args=[uuid, node, step]))

    return login_required(require_POST(never_cache(checked)))


@_looking
def snapshot_evaluate(request: HttpRequest, state: StepState) -> HttpResponseBase:
    """Form fields `code`, `timeout_s`."""
    code = scrub(request.POST.get("code", "")).replace("\r\n", "\n")
    result = evaluate(state, code, actor=actor_of(request.user, "web"), timeout_s=_timeout_s(request))
    return JsonResponse(result.to_plain())


@_looking
def snapshot_diff(request: HttpRequest, state: StepState) -> HttpResponseBase:
    """Form field `name`: what changed in this variable since the snapshot before."""
    name = request.POST.get("name", "")
    found = difference(state, name, actor=actor_of(request.user, "web"))
    return render(request, "runs/_snapshot_diff.html", {"state": state, "name": name, "found": found})


@_looking
def snapshot_download(request: HttpRequest, state: StepState) -> HttpResponseBase:
    """Form fields `name`, `form`, and `reason` where the policy of the organisation asks for one."""
    name, form = request.POST.get("name", ""), request.POST.get("form", "")
    reason = scrub(request.POST.get("reason", ""))
    return download_response(download(state, name, form, actor=actor_of(request.user, "web"), reason=reason))


def _timeout_s(request: HttpRequest) -> float:
    raw = request.POST.get("timeout_s", "") or str(DEFAULT_TIMEOUT_S)
    try:
        return float(raw)
    except ValueError:
        raise BadRequest("The time limit is not a number of seconds.") from None


def _said(request: HttpRequest, problem: Problem, back: str) -> HttpResponse:
    """What went wrong: as JSON for the script, as a fragment for htmx, as a page for a form that was sent."""
    if request.headers.get("HX-Request"):
        return render(request, "runs/_snapshot_problem.html", {"problem": problem})
    if "application/json" in request.headers.get("Accept", ""):
        return JsonResponse(problem.to_plain(), status=problem.status)
    return render(request, "runs/snapshot_refused.html", {"problem": problem, "back": back}, status=problem.status)
