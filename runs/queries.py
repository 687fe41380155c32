"""Reads that pages and the API share."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from runs.examples import ExampleError, Tag, Verdict
from runs.models import Session

PAGE_ROWS = 30
MAX_RUNNING_ROWS = 50
MAX_SEARCH_CHARS = 200


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """What a list of sessions is narrowed to. `text` is looked for in title, question and answer."""

    status: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.status or self.text)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """`next` is the `before` of the page after this one; None at the end."""

    sessions: list[Session]
    next: int | None


def filtered(sessions: QuerySet[Session], by: SessionFilter) -> QuerySet[Session]:
    """Newest first, with what a row shows. Branches of rollouts are found through their rollout."""
    found = (
        sessions.filter(hidden=False).select_related("meter", "context", "created_by").defer("question").order_by("-pk")
    )
    if by.status:
        found = found.filter(status=by.status)
    for word in by.text[:MAX_SEARCH_CHARS].split():
        found = found.filter(Q(title__icontains=word) | Q(question__icontains=word) | Q(answer__icontains=word))
    return found


def page_of(found: QuerySet[Session], before: int | None = None, rows: int = PAGE_ROWS) -> SessionPage:
    """One page by key: a session that starts meanwhile moves nothing from page to page."""
    if before is not None:
        found = found.filter(pk__lt=before)
    sessions = list(found[: rows + 1])
    return SessionPage(sessions[:rows], sessions[rows - 1].pk if len(sessions) > rows else None)


def verdict_of(session: Session) -> Verdict | None:
    """How the answer of an example task compares with the known one; None where there is nothing to compare."""
    tag = session.config.get("example")
    if not tag or session.answer is None:
        return None
    try:
        return Tag.decode(tag).check(session.answer)
    except ExampleError:
        return None


def expected_answer(session: Session) -> str:
    """The known answer of an example task; empty where there is none."""
    tag = session.config.get("example")
    try:
        return Tag.decode(tag).expected.shown if tag else ""
    except ExampleError:
        return ""
