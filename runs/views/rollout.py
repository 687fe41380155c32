"""Rollouts: the form that starts one, its page with the shares per step, its branches as files."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from runs.access import actor_of, may, session_for
from runs.models import Rollout, Session
from runs.queries import expected_answer
from runs.replay.archive.exporting import begin_export
from runs.replay.changes import changes_from_plain
from runs.replay.forks.differences import differences_of
from runs.replay.rollouts.chart import chart_of
from runs.replay.rollouts.costs import rests_after, spent_micro_usd
from runs.replay.rollouts.figure import figure_of
from runs.replay.rollouts.reading import rollout_for
from runs.replay.rollouts.results import branches_of, outcomes_of, shares_of, to_csv, to_json
from runs.replay.rollouts.scorers import InvalidScorer
from runs.replay.rollouts.starting import CannotRollOut, start_rollout, stop_rollout
from runs.replay.rollouts.statistics import largest_drop
from runs.rollout_form import SCORERS, RolloutForm
from runs.services.config import InvalidConfig
from runs.services.snapshots.reading import SnapshotError, snapshots_of
from runs.text import scrub


@never_cache
@login_required
def rollout_new(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid, "evaluate")
    node = _whole(request.GET.get("node", "0"))
    saved = [0, *snapshots_of(session, node).filter(collected_at=None).values_list("step_number", flat=True)]
    rests = rests_after(session, node, saved)
    chosen = [str(step) for step in (_whole(request.GET.get("step", "")),) if step in rests]
    initial = {"steps": chosen, "expected": expected_answer(session)}
    form = RolloutForm(request.POST or None, rests=rests, config=session.config, initial=initial)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            rollout = _started(request, session, node, form)
            if rollout is not None:
                return redirect("runs:rollout", uuid=rollout.uuid)
        status = 422
    context = {
        "form": form,
        "session": session,
        "node": node,
        "rests": json.dumps({step: rest.micro_usd for step, rest in rests.items()}),
        "unpriced": any(rest.unpriced_calls for rest in rests.values()),
        "earlier": Rollout.objects.filter(session=session)[:20],
    }
    return render(request, "runs/rollout_new.html", context, status=status)


def _started(request: HttpRequest, session: Session, node: int, form: RolloutForm) -> Rollout | None:
    """The new rollout; None when the form says why there is none."""
    try:
        return start_rollout(
            actor=actor_of(request.user, "web"),
            session=session,
            node=node,
            steps=[int(step) for step in form.cleaned_data["steps"]],
            branches=form.cleaned_data["branches"],
            scorer=form.scorer(),
            changes=form.changes(),
            max_cost_usd=form.cleaned_data["max_cost_usd"],
        )
    except (InvalidScorer, InvalidConfig, CannotRollOut) as error:
        form.add_error(None, str(error))
    except SnapshotError as error:
        form.add_error(None, f"{error}. {error.way_out}")
    return None


@never_cache
@login_required
@require_safe
def rollout(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = rollout_for(request.user, uuid)
    branches = branches_of(found)
    outcomes = outcomes_of(found, branches)
    drop = largest_drop(outcomes)
    context = {
        "rollout": found,
        "session": found.session,
        "outcomes": outcomes,
        "drop": drop,
        "chart": chart_of(outcomes, drop),
        "branches": branches,
        "running": found.status == Rollout.Status.RUNNING,
        "done": sum(branch.scored_at is not None for branch in branches),
        "scorer_name": dict(SCORERS)[found.scorer["kind"]],
        "differences": differences_of(changes_from_plain(found.changes), found.session.config, {}),
        "cost_micro_usd": spent_micro_usd(found),
        "may_stop": may(request.user, found.session, "evaluate"),
    }
    part = request.headers.get("HX-Request") == "true"
    return render(request, "runs/_rollout.html" if part else "runs/rollout.html", context)


@never_cache
@login_required
@require_safe
def rollout_figure(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """The shares per step for Plotly."""
    outcomes = outcomes_of(found := rollout_for(request.user, uuid), branches_of(found))
    return JsonResponse(figure_of(outcomes, largest_drop(outcomes)))


@never_cache
@login_required
@require_safe
def session_rollouts(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """For the page of the session: shares per node and step, of the newest rollout of each."""
    return JsonResponse(shares_of(session_for(request.user, uuid)))


@login_required
@require_POST
def rollout_stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = rollout_for(request.user, uuid, "evaluate")
    stop_rollout(found, actor=actor_of(request.user, "web"))
    return redirect("runs:rollout", uuid=found.uuid)


@login_required
@require_GET
def rollout_export(request: HttpRequest, uuid: UUID, form: str) -> HttpResponse:
    """`reason`: why, where the policy of the organisation asks."""
    found = rollout_for(request.user, uuid)
    makers = {"csv": (to_csv, "text/csv; charset=utf-8"), "json": (to_json, "application/json")}
    if form not in makers:
        raise Http404
    make, content_type = makers[form]
    reason, details = scrub(request.GET.get("reason", "")), {"rollout": str(found.uuid), "form": form}
    begin_export(found.session, actor_of(request.user, "web"), reason, details)
    response = HttpResponse(make(found), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="rollout-{found.uuid}.{form}"'
    return response


def _whole(text: str) -> int:
    """-1 for what is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
