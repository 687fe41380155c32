"""Re-executions: the form that starts one, and the page that shows what it found."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from runs.access import actor_of, may, session_for
from runs.models import Job, Session, Step
from runs.replay.compare.texts import diff
from runs.replay.reexecution.report import Report, report_from_plain
from runs.replay.reexecution.running import REEXECUTE, CannotReexecute, start_reexecution
from runs.services.config import config_from_plain
from runs.services.jobs import stop_job

MAX_ROWS = 500


class ReexecutionForm(forms.Form):
    scope = forms.ChoiceField(label="What", widget=forms.RadioSelect, initial="session")
    freeze_time = forms.BooleanField(
        label="Freeze time", required=False, help_text="The clocks start when the session was started."
    )
    seed = forms.IntegerField(
        label="Seed",
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="For everything that the code draws at random. Empty: as it comes.",
    )

    def __init__(self, *args: Any, node: int, step: int, **fields: Any) -> None:
        super().__init__(*args, **fields)
        whose = f"node {node}" if node else "the root"
        field = self.fields["scope"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            ("session", "the whole session"),
            ("subtree", f"{whose} with everything below it, from its start"),
            ("step", f"step {step} of {whose} only, from the state before it"),
            ("rest", f"{whose} from step {step} on, from the state before it"),
        ]

    def options(self, node: int, step: int) -> dict[str, Any]:
        data = self.cleaned_data
        common = {"freeze_time": data["freeze_time"], "seed": data["seed"]}
        chosen: dict[str, dict[str, Any]] = {
            "session": {},
            "subtree": {"node": node},
            "step": {"node": node, "subtree": False, "after": step - 1, "upto": step},
            "rest": {"node": node, "subtree": False, "after": step - 1},
        }
        return {**common, **chosen[data["scope"]]}


@never_cache
@login_required
def reexecution_new(request: HttpRequest, uuid: UUID, node: int, step: int) -> HttpResponse:
    session = session_for(request.user, uuid, "evaluate")
    if not Step.objects.filter(session=session, node__number=node, number=step).exists():
        raise Http404
    form = ReexecutionForm(request.POST or None, node=node, step=step)
    if request.method == "POST" and form.is_valid():
        try:
            actor = actor_of(request.user, "web")
            job = start_reexecution(actor=actor, session=session, **form.options(node, step))
            return redirect("runs:reexecution", uuid=job.uuid)
        except CannotReexecute as error:
            form.add_error(None, str(error))
    context = {
        "form": form,
        "session": session,
        "node": node,
        "step": step,
        "fixed": config_from_plain(session.config).determinism,
        "earlier": Job.objects.filter(session=session, kind=REEXECUTE)[:20],
    }
    return render(request, "runs/reexecution_new.html", context, status=422 if request.method == "POST" else 200)


@never_cache
@login_required
@require_safe
def reexecution(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job, session = _job_for(request, uuid)
    report = report_from_plain(job.result) if job.result else Report()
    first = report.first
    context = {
        "job": job,
        "session": session,
        "running": job.status in (Job.Status.READY, Job.Status.RUNNING),
        "report": report,
        "verdict": report.verdict if job.status == Job.Status.FINISHED else "",
        "first": first,
        "findings": [(each, diff(each.recorded, each.now)) for each in first.findings] if first is not None else [],
        "steps": report.steps[:MAX_ROWS],
        "steps_left_out": report.executed - len(report.steps[:MAX_ROWS]),
        "notes": list(dict.fromkeys(note for step in report.steps for note in step.notes)),
        "may_stop": may(request.user, session, "evaluate"),
    }
    part = request.headers.get("HX-Request") == "true"
    return render(request, "runs/_reexecution.html" if part else "runs/reexecution.html", context)


@login_required
@require_POST
def reexecution_stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job, session = _job_for(request, uuid)
    if not may(request.user, session, "evaluate"):
        raise Http404
    stop_job(job, actor=actor_of(request.user, "web"))
    return redirect("runs:reexecution", uuid=job.uuid)


def _job_for(request: HttpRequest, uuid: UUID) -> tuple[Job, Session]:
    """Whoever sees the session sees what came of executing it again. Raises `Http404`."""
    job = Job.objects.select_related("session").filter(uuid=uuid, kind=REEXECUTE).first()
    if job is None or job.session is None:
        raise Http404
    return job, session_for(request.user, job.session.uuid)
