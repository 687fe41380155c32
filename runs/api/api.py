"""The API: its operations come from the routers, its errors are all of one shape."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.api import archives, contexts, forks, installation, rollouts, sessions, snapshots, store
from runs.api.auth import AUTH
from runs.api.schemas import Problem
from runs.replay.forks import CannotFork
from runs.replay.inspect.errors import InspectError
from runs.replay.inspect.problems import problem_of
from runs.replay.reexecution.running import CannotReexecute
from runs.replay.rollouts.scorers import InvalidScorer
from runs.replay.rollouts.starting import CannotRollOut
from runs.services.config import InvalidConfig
from runs.services.contexts import ContextError
from runs.services.snapshots.reading import SnapshotError
from runs.store.deleting import CannotDelete
from runs.uploads import UploadError, WrongOffset
from sandboxes.errors import SandboxError

MAX_MESSAGE_CHARS = 2_000

api = NinjaAPI(title="rlmweb", version="1", urls_namespace="runs:api", auth=AUTH, docs_url=None)
api.add_router("/contexts", contexts.router)
api.add_router("/sessions", sessions.router)
api.add_router("/sessions", snapshots.router)
api.add_router("", rollouts.router)
api.add_router("", forks.router)
api.add_router("", archives.router)
api.add_router("", installation.router)
api.add_router("", store.router)


def _problem(request: HttpRequest, status: int, kind: str, message: str, hint: str = "") -> HttpResponse:
    problem = Problem(type=kind, message=message[:MAX_MESSAGE_CHARS], hint=hint)
    return api.create_response(request, problem, status=status)


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _problem(request, 404, "not_found", "There is no such thing, or it is not yours.")


@api.exception_handler(AuthenticationError)
def _not_signed_in(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    hint = "Send Authorization: Bearer <token>; tokens are made on the page Keys."
    response = _problem(request, 401, "not_signed_in", "The call says nobody's name, or the token is not valid.", hint)
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def _invalid_request(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return _problem(request, 422, "invalid_request", "; ".join(map(_said, error.errors)))


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    kind = {400: "unreadable", 403: "forbidden", 413: "too_large"}.get(error.status_code, "error")
    hint = "Send the CSRF token in X-CSRFToken, or use a bearer token." if error.status_code == 403 else ""
    return _problem(request, error.status_code, kind, str(error), hint)


@api.exception_handler(InvalidConfig)
def _invalid_config(request: HttpRequest, error: InvalidConfig) -> HttpResponse:
    return _problem(request, 422, "invalid_config", str(error))


@api.exception_handler(InvalidScorer)
@api.exception_handler(CannotRollOut)
def _invalid_rollout(request: HttpRequest, error: InvalidScorer | CannotRollOut) -> HttpResponse:
    return _problem(request, 422, "invalid_rollout", str(error))


@api.exception_handler(CannotFork)
@api.exception_handler(CannotReexecute)
def _invalid_replay(request: HttpRequest, error: CannotFork | CannotReexecute) -> HttpResponse:
    return _problem(request, 422, "invalid_replay", str(error))


@api.exception_handler(CannotDelete)
def _not_deletable(request: HttpRequest, error: CannotDelete) -> HttpResponse:
    return _problem(request, 409, "cannot_delete", str(error))


@api.exception_handler(QuotaExceeded)
def _quota_exceeded(request: HttpRequest, error: QuotaExceeded) -> HttpResponse:
    hint = f"resets_at={error.resets_at.isoformat()}" if error.resets_at is not None else ""
    response = _problem(request, 429, "quota_exceeded", str(error), hint)
    if error.resets_at is not None:
        response["Retry-After"] = str(max(1, round((error.resets_at - timezone.now()).total_seconds())))
    return response


@api.exception_handler(PolicyRefused)
def _policy_refused(request: HttpRequest, error: PolicyRefused) -> HttpResponse:
    return _problem(request, 403, "policy_refused", str(error), f"rule={error.decision.rule}")


@api.exception_handler(ContextError)
def _invalid_context(request: HttpRequest, error: ContextError) -> HttpResponse:
    if isinstance(error.__cause__, QuotaExceeded):
        return _quota_exceeded(request, error.__cause__)
    return _problem(request, 422, "invalid_context", str(error))


@api.exception_handler(UploadError)
def _upload_error(request: HttpRequest, error: UploadError) -> HttpResponse:
    if isinstance(error, WrongOffset):
        return _problem(request, 409, "wrong_offset", str(error), f"offset={error.received_bytes}")
    return _problem(request, 422, "invalid_upload", str(error))


@api.exception_handler(InspectError)
@api.exception_handler(SnapshotError)
@api.exception_handler(SandboxError)
def _looking_failed(request: HttpRequest, error: InspectError | SnapshotError | SandboxError) -> HttpResponse:
    problem = problem_of(error)
    return _problem(request, problem.status, problem.type, problem.message, problem.hint)


def _said(error: dict[str, Any]) -> str:
    """One mistake in the request. What was sent is not repeated: it may be long, or secret."""
    place = ".".join(str(part) for part in error.get("loc", ()) if part not in ("body", "query", "path"))
    return f"{place}: {error.get('msg', 'not valid')}".removeprefix(": ")
