"""The family of a session: where it came from and what was forked from it, as a tree that can be walked."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from runs.models import Session
from runs.replay.origin import Origin, origin_of

MAX_SESSIONS = 500


@dataclass(frozen=True, slots=True)
class Relative:
    """One session of the family. `level` counts from the oldest ancestor that may be seen."""

    session: Session
    origin: Origin | None
    level: int
    is_self: bool


def lineage_of(session: Session, visible: QuerySet[Session]) -> list[Relative]:
    """Ancestors, the session, and all that descends from its oldest visible ancestor, parents before children.

    Branches of rollouts are left out, unless the session is one: a rollout shows its own.
    """
    found = visible.select_related("meter").defer("question")
    oldest, above = session, {session.pk}
    while oldest.forked_from_id is not None and oldest.forked_from_id not in above:
        parent = found.filter(pk=oldest.forked_from_id).first()
        if parent is None:
            break
        above.add(parent.pk)
        oldest = parent
    rows: list[Relative] = []
    _descend(found.get(pk=oldest.pk), 0, session, above, found, rows)
    return rows


def _descend(
    top: Session, level: int, session: Session, above: set[int], found: QuerySet[Session], rows: list[Relative]
) -> None:
    todo = [(top, level)]
    while todo and len(rows) < MAX_SESSIONS:
        current, depth = todo.pop()
        rows.append(Relative(current, origin_of(current.origin), depth, current.pk == session.pk))
        children = found.filter(forked_from_id=current.pk).order_by("-pk")
        kept = [child for child in children[:MAX_SESSIONS] if not child.hidden or child.pk in above]
        todo += [(child, depth + 1) for child in kept]
