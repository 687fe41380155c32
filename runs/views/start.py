"""The form that starts a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.warnings import warned
from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import actor_of, context_for, team_for
from runs.blobs import CHUNK_BYTES
from runs.examples import all_examples
from runs.forms import StartForm
from runs.lm.embedded import status as model_status
from runs.models import Context, Session
from runs.services.config import InvalidConfig
from runs.services.contexts import (
    ContextError,
    context_from_chunks,
    context_from_example,
    context_from_path,
    context_from_text,
    context_from_url,
    preview_of,
)
from runs.services.quota_scopes import scopes_of_actor
from runs.services.sessions import start_session
from runs.uploads import PART_BYTES
from sandboxes.status import local_status

PASTE_PART_BYTES = 1024 * 1024
"""From here on the page sends a pasted text like a file, in parts."""

MODEL_RULES, MODEL_FIELD = ("model_hosts", "zero_retention"), "root"
"""Rules of a policy that are about models, and where the form says so; the others are about sandboxes."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a session works on. An example brings its question and the tag by which its answer is judged."""

    context: Context
    question: str = ""
    tag: str = ""


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def session_new(request: HttpRequest) -> HttpResponse:
    team_for(request.user)  # who may start nowhere has no such page
    if request.method == "GET":
        return _page(request, StartForm(request.user, initial=_initial(request)))
    form = StartForm(request.user, request.POST, request.FILES)
    try:
        session = _start(request, form)
    except QuotaExceeded as error:
        form.add_error(None, str(error))
        return _page(request, form, status=429)
    if session is not None:
        return redirect("runs:session", uuid=session.uuid)
    return _page(request, form, status=422)


@never_cache
@login_required
@require_POST
def example_preview(request: HttpRequest) -> HttpResponse:
    """Build the chosen example and show its question and its beginning, so that nothing is started unseen."""
    team_for(request.user)
    form = StartForm(request.user, request.POST)
    form.is_valid()  # the other fields may still be empty
    if any(name in form.errors for name in ("example", "example_question", "example_size", "example_seed")):
        return render(request, "runs/_example.html", {"problem": "Choose an example, a size and a seed."}, status=422)
    try:
        material = _example(request, form, _team(request, form))
    except ContextError as error:
        return render(request, "runs/_example.html", {"problem": str(error)}, status=422)
    context = {"material": material.context, "preview": preview_of(material.context), "question": material.question}
    return render(request, "runs/_example.html", context)


def _start(request: HttpRequest, form: StartForm) -> Session | None:
    """The session, or None with the errors in the form. A file that came along is kept either way."""
    valid = form.is_valid()
    team = _team(request, form)
    try:
        if not valid:
            _keep_file(request, form, team)
            return None
        material = _material(request, form, team)
    except ContextError as error:
        form.add_error(_field_of(form), str(error))
        return None
    question = form.cleaned_data["question"] or material.question
    if not question:
        form.add_error("question", "Ask something about the context.")
        return None
    # The known answer is that of the example's own question, and of no other.
    tag = material.tag if question == material.question else ""
    try:
        return start_session(
            actor=actor_of(request.user, "web"),
            team=team,
            question=question,
            context=material.context,
            config=form.build_config(tag),
            title=form.cleaned_data["title"],
        )
    except InvalidConfig as error:
        form.add_error("provider", str(error))
        return None
    except PolicyRefused as error:
        form.add_error(MODEL_FIELD if error.decision.rule in MODEL_RULES else "provider", str(error))
        return None


def _material(request: HttpRequest, form: StartForm, team: Team) -> Material:
    """Raises `ContextError`."""
    cleaned, actor = form.cleaned_data, actor_of(request.user, "web")
    source, kind = cleaned["source"], cleaned["kind"]
    if source == "example":
        return _example(request, form, team)
    if cleaned["context"] is not None:
        return Material(cleaned["context"])
    if source == "upload":
        return Material(_uploaded(request, form, team))
    if source == "paste":
        return Material(context_from_text(cleaned["text"], actor=actor, team=team, kind=kind))
    if source == "path":
        return Material(context_from_path(cleaned["path"], actor=actor, team=team, kind=kind))
    return Material(context_from_url(cleaned["url"], actor=actor, team=team, kind=kind))


def _example(request: HttpRequest, form: StartForm, team: Team) -> Material:
    cleaned = form.cleaned_data
    context, built = context_from_example(
        cleaned["example"],
        actor=actor_of(request.user, "web"),
        team=team,
        seed=cleaned.get("example_seed") or 0,
        size_bytes=cleaned.get("example_size") or None,
        question_kind=cleaned.get("example_question") or None,
    )
    return Material(context, built.question, built.tag)


def _uploaded(request: HttpRequest, form: StartForm, team: Team) -> Context:
    """A file of the form itself: how browsers without JavaScript send it."""
    file = form.cleaned_data["file"]
    return context_from_chunks(
        file.chunks(CHUNK_BYTES),
        actor=actor_of(request.user, "web"),
        team=team,
        name=file.name or "",
        source="upload",
        kind=form.cleaned_data.get("kind", ""),
    )


def _keep_file(request: HttpRequest, form: StartForm, team: Team) -> None:
    """Browsers do not fill in a file again: store it now and let the form carry its context."""
    if form.cleaned_data.get("source") == "upload" and form.cleaned_data.get("file"):
        form.carry(_uploaded(request, form, team))


def _team(request: HttpRequest, form: StartForm) -> Team:
    return form.cleaned_data.get("team") or team_for(request.user)


def _field_of(form: StartForm) -> str:
    """Where an error about the context belongs."""
    source = form.cleaned_data.get("source", "")
    return {"paste": "text", "upload": "file"}.get(source, source if source in form.fields else "source")


def _initial(request: HttpRequest) -> dict[str, Any]:
    """An address may choose the example and hand over a context: `?example=s-niah`, `?context=<uuid>`."""
    initial: dict[str, Any] = {}
    if request.GET.get("example") in {example.slug for example in all_examples()}:
        initial |= {"source": "example", "example": request.GET["example"]}
    if request.GET.get("context"):
        context = context_for(request.user, request.GET["context"])
        initial |= {"source": "upload", "context": str(context.uuid)}
    return initial


def _page(request: HttpRequest, form: StartForm, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "examples": all_examples(),
        "chosen": _chosen(request, form),
        "model": model_status(),
        "local": local_status(),
        "part_bytes": PART_BYTES,
        "paste_part_bytes": PASTE_PART_BYTES,
        "upload_max_bytes": settings.UPLOAD_MAX_BYTES,
        "warned": warned(scopes_of_actor(team_for(request.user), actor_of(request.user, "web").user)),
        "several_teams": form.fields["team"].queryset.count() > 1,  # type: ignore[attr-defined]
    }
    return render(request, "runs/new.html", context, status=status)


def _chosen(request: HttpRequest, form: StartForm) -> dict[str, Any] | None:
    """The context that the form already carries."""
    uuid = form["context"].value()
    if not uuid or "context" in form.errors:
        return None
    context = context_for(request.user, uuid)
    return {"material": context, "preview": preview_of(context)}
