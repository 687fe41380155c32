"""Sandboxes that wait for each other: a node keeps its own while its children wait for theirs, so with few slots all of
them may be held by nodes that wait. Nothing would ever end then but by wall time."""

from __future__ import annotations

from uuid import UUID

from rlmweb.quotas.models import Reservation, Waiting
from rlmweb.quotas.scopes import Scope
from runs.models import Node, Step
from runs.services.quota_boxes import OF_NODE, node_of

SLOTS = "concurrent_sandboxes"
WAY_OUT = (
    "All of them are held by nodes that wait for sub-calls, which wait for a sandbox in turn. Raise the limit above the"
    " depth of the recursion, or allow less depth."
)


def is_knotted(scope: Scope, resource: str, session: UUID) -> bool:
    """Whether nobody who holds a slot in `scope` can go on, and this session holds one: ending it would free the others."""
    if resource != SLOTS:
        return False
    rows = Reservation.objects.filter(
        state=Reservation.State.OPEN, **{f"scopes__{scope.kind}": str(scope.uuid), f"holds__{SLOTS}__gt": 0}
    )
    held = list(rows.values_list("holder", "session_uuid"))
    if not any(owner == session for _, owner in held):
        return False
    return all(holder.startswith(OF_NODE) for holder, _ in held) and not _can_go_on({node_of(h) for h, _ in held})


def _can_go_on(nodes: set[UUID]) -> bool:
    """Whether one of them works, is about to, or is over, so that its sandbox is about to go."""
    if Node.objects.filter(uuid__in=nodes, status=Node.Status.RUNNING).count() < len(nodes):
        return True
    awake = Step.objects.filter(node__uuid__in=nodes, status__in=(Step.Status.READY, Step.Status.RUNNING))
    put_back = set(Waiting.objects.filter(resource=SLOTS).values_list("step_uuid", flat=True))
    return any(uuid not in put_back for uuid in awake.values_list("uuid", flat=True))
