"""What is kept: the store's page for the staff, pins, and deleting a session."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from runs.access import actor_of, require_staff, session_for
from runs.blobs import blob_store
from runs.models import StoreRun
from runs.replay.inspect.problems import problem_of
from runs.services.snapshots.reading import SnapshotError
from runs.store.deleting import CannotDelete, delete_session, deletion_of
from runs.store.pins import pin_session, pin_snapshot
from runs.store.policy import policy_of_installation
from runs.store.reading import holdings
from runs.store.report import Report, report_from_plain
from runs.store.running import ask_for_run

UNFINISHED = (StoreRun.Status.READY, StoreRun.Status.RUNNING)


@never_cache
@login_required
@require_GET
def store(request: HttpRequest) -> HttpResponse:
    require_staff(request.user)
    return render(request, "runs/store.html", _context())


@never_cache
@login_required
@require_GET
def store_runs(request: HttpRequest) -> HttpResponse:
    """The part that the page fetches again while somebody collects."""
    require_staff(request.user)
    return render(request, "runs/_store_runs.html", _context())


@login_required
@require_POST
def store_collect(request: HttpRequest) -> HttpResponse:
    """Have a worker look through the store; `what` is `collect` or, changing nothing, anything else."""
    require_staff(request.user)
    dry_run = request.POST.get("what") != "collect"
    if StoreRun.objects.filter(status__in=UNFINISHED, dry_run=dry_run).exists():
        messages.info(request, "A worker is at it already.")
    else:
        ask_for_run(policy_of_installation(), dry_run=dry_run, actor=actor_of(request.user, "web"))
    return redirect("runs:store")


@login_required
@require_POST
def session_pin(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """`pinned`: 1 or 0."""
    session = session_for(request.user, uuid, "pin")
    pinned = request.POST.get("pinned") == "1"
    pin_session(session, actor=actor_of(request.user, "web"), pinned=pinned)
    messages.success(request, "Pinned: nothing of the session is given up." if pinned else "Not pinned any more.")
    return redirect("runs:session", uuid=uuid)


@login_required
@require_POST
def snapshot_pin(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    """`pinned`: 1 or 0."""
    session = session_for(request.user, uuid, "pin")
    pinned = request.POST.get("pinned") == "1"
    back = reverse("runs:snapshot", args=[uuid, node, step])
    try:
        pin_snapshot(session, node, step, actor=actor_of(request.user, "web"), pinned=pinned)
    except SnapshotError as error:
        problem = problem_of(error)
        context = {"problem": problem, "back": back}
        return render(request, "runs/snapshot_refused.html", context, status=problem.status)
    messages.success(request, "Pinned: this snapshot is kept." if pinned else "Not pinned any more.")
    return redirect(back)


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def session_delete(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """A page that says what goes and what stays; a POST deletes."""
    session = session_for(request.user, uuid, "delete")
    refused = ""
    if request.method == "POST":
        try:
            delete_session(session, actor=actor_of(request.user, "web"))
        except CannotDelete as error:
            refused = str(error)
        else:
            messages.success(request, f"“{session.title}” is deleted.")
            return redirect("runs:session_list")
    context = {"session": session, "deletion": deletion_of(session), "refused": refused}
    return render(request, "runs/session_delete.html", context, status=409 if refused else 200)


def _context() -> dict[str, object]:
    found = holdings()
    return {
        "holds": {each.name: each for each in found.kinds},
        "policy": policy_of_installation(),
        "place": blob_store().url,
        "last": found.last,
        "last_report": _report(found.last),
        "dry": found.last_dry_run,
        "dry_report": _report(found.last_dry_run),
        "working": any(run is not None and run.status in UNFINISHED for run in (found.last, found.last_dry_run)),
    }


def _report(run: StoreRun | None) -> Report | None:
    return report_from_plain(run.report) if run is not None and run.report else None
