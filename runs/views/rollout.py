"""Rollouts: the form that starts one, its page with the shares per step, its branches as files."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from runs.access import actor_of, may, session_for
from runs.models import Rollout, Session
from runs.queries import expected_answer
from runs.replay.changes import Changes
from runs.replay.rollouts.chart import chart_of
from runs.replay.rollouts.reading import rollout_for
from runs.replay.rollouts.results import branches_of, outcomes_of, to_csv, to_json
from runs.replay.rollouts.scorers import InvalidScorer, Scorer, scorer_from_plain
from runs.replay.rollouts.starting import MOST_PER_STEP, CannotRollOut, start_rollout, stop_rollout
from runs.replay.rollouts.statistics import largest_drop
from runs.services.snapshots.reading import SnapshotError, snapshots_of
from runs.text import scrub

SCORERS = (
    ("exact", "The answer is exactly the expected one (case, spaces and a final full stop do not count)"),
    ("contains", "The answer contains the expected text"),
    ("numeric", "The last number in the answer is the expected one"),
    ("regex", "The answer matches a regular expression"),
    ("python", "A Python function decides, in a sandbox"),
    ("judge", "The session's root model judges by a rubric"),
)
PYTHON_EXAMPLE = "def score(answer, expected, question):\n    return expected.lower() in answer.lower()\n"


class RolloutForm(forms.Form):
    """`steps` are those of the node that have a snapshot."""

    steps = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one step to branch from."}
    )
    branches = forms.IntegerField(label="Branches from each step", min_value=1, max_value=MOST_PER_STEP, initial=4)
    kind = forms.ChoiceField(label="A branch is right when", choices=SCORERS, initial="exact")
    expected = forms.CharField(label="Expected answer", required=False, widget=forms.Textarea({"rows": 2}))
    tolerance = forms.FloatField(label="Tolerance, for a number", required=False, min_value=0)
    pattern = forms.CharField(label="Regular expression (Python)", required=False)
    source = forms.CharField(
        label="Python function", required=False, initial=PYTHON_EXAMPLE, widget=forms.Textarea({"rows": 4})
    )
    rubric = forms.CharField(label="Rubric for the judge", required=False, widget=forms.Textarea({"rows": 2}))

    def __init__(self, *args: Any, steps: list[int], **fields: Any) -> None:
        super().__init__(*args, **fields)
        field = self.fields["steps"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(str(step), "before the first step" if step == 0 else f"step {step}") for step in steps]

    def scorer(self) -> Scorer:
        """Raises `InvalidScorer`."""
        data = {name: scrub(value) if isinstance(value, str) else value for name, value in self.cleaned_data.items()}
        kind, expected = data["kind"], data["expected"]
        if kind == "numeric":
            try:
                number = float(expected.replace(",", ""))
            except ValueError:
                raise InvalidScorer(f"{expected[:60]!r} is not a number.") from None
            return scorer_from_plain({"kind": kind, "expected": number, "tolerance": data["tolerance"] or 0.0})
        fields: dict[str, dict[str, Any]] = {
            "exact": {"expected": expected},
            "contains": {"expected": expected},
            "regex": {"pattern": data["pattern"]},
            "python": {"source": data["source"], "expected": expected},
            "judge": {"rubric": data["rubric"], "expected": expected},
        }
        return scorer_from_plain({"kind": kind, **fields[kind]})


@never_cache
@login_required
def rollout_new(request: HttpRequest, uuid: UUID) -> HttpResponse:
    session = session_for(request.user, uuid, "evaluate")
    node = _whole(request.GET.get("node", "0"))
    steps = [0, *snapshots_of(session, node).filter(collected_at=None).values_list("step_number", flat=True)]
    chosen = [str(step) for step in (_whole(request.GET.get("step", "")),) if step in steps]
    initial = {"steps": chosen, "expected": expected_answer(session)}
    form = RolloutForm(request.POST or None, steps=steps, initial=initial)
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
        "cost_micro_usd": session.meter.cost_micro_usd,
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
            changes=Changes(),
        )
    except (InvalidScorer, CannotRollOut) as error:
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
    context = {
        "rollout": found,
        "session": found.session,
        "outcomes": outcomes,
        "drop": largest_drop(outcomes),
        "chart": chart_of(outcomes),
        "branches": branches,
        "running": found.status == Rollout.Status.RUNNING,
        "done": sum(branch.scored_at is not None for branch in branches),
        "scorer_name": dict(SCORERS)[found.scorer["kind"]],
        "cost_micro_usd": sum(branch.session.meter.cost_micro_usd for branch in branches if branch.session is not None),
        "may_stop": may(request.user, found.session, "evaluate"),
    }
    part = request.headers.get("HX-Request") == "true"
    return render(request, "runs/_rollout.html" if part else "runs/rollout.html", context)


@login_required
@require_POST
def rollout_stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = rollout_for(request.user, uuid, "evaluate")
    stop_rollout(found, actor=actor_of(request.user, "web"))
    return redirect("runs:rollout", uuid=found.uuid)


@login_required
@require_GET
def rollout_export(request: HttpRequest, uuid: UUID, form: str) -> HttpResponse:
    found = rollout_for(request.user, uuid)
    makers = {"csv": (to_csv, "text/csv; charset=utf-8"), "json": (to_json, "application/json")}
    if form not in makers:
        raise Http404
    make, content_type = makers[form]
    response = HttpResponse(make(found), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="rollout-{found.uuid}.{form}"'
    return response


def _whole(text: str) -> int:
    """-1 for what is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
