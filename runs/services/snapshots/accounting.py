"""Every step that began has a snapshot or a reason why it has none: the books are closed when its node ends.

Whoever ends a node (a person, a limit, an error, its own answer), snapshots of it may be on their way. What is not on
record in the transaction that ends the node never will be: its sandbox goes, and the fence keeps late writers out.
"""

from __future__ import annotations

import json

from django.db.models import Exists, OuterRef

from runs.events.types import SnapshotFailed
from runs.models import Event, Node, Step
from runs.services.transaction import SessionTransaction
from sandboxes.models import Snapshot

FAILED = "snapshot.failed"
REASONS = {
    "finished": "its node ended before it was stored",
    "stopped": "its node was stopped before it was stored",
    "limited": "its node was ended by a limit before it was stored",
    "failed": "its node failed before it was stored",
}


def close_books(changes: SessionTransaction, node: Node, status: str) -> None:
    """Inside the transaction that ends `node` with `status`: say which steps have no snapshot and never will."""
    steps = _without_snapshot(node, changes.session.config.get("snapshots", "every"))
    if steps:
        said = {*_recorded(node), *_about_to_be(changes, node)}
        changes.emit(
            *(
                SnapshotFailed(node=node.number, step=step, reason=REASONS.get(status, REASONS["failed"]))
                for step in steps
                if step not in said
            )
        )


def _without_snapshot(node: Node, policy: str) -> list[int]:
    """Begun steps that should have a snapshot and have no row of one."""
    if policy == "off":
        return []
    begun = Step.objects.filter(node=node, inherited=False, started_at__isnull=False)
    row = Snapshot.objects.filter(node_uuid=node.uuid, step_number=OuterRef("number"))
    missing = list(begun.filter(~Exists(row)).order_by("number").values_list("number", flat=True))
    if policy == "every" or not missing:
        return missing
    last = begun.order_by("-number").values_list("number", flat=True).first()
    return [step for step in missing if step == last]


def _recorded(node: Node) -> list[int]:
    failed = Event.objects.filter(session_id=node.session_id, node=node.number, type=FAILED)
    return [json.loads(data)["step"] for data in failed.values_list("data", flat=True)]


def _about_to_be(changes: SessionTransaction, node: Node) -> list[int]:
    return [json.loads(event.data)["step"] for event in changes.emitted(FAILED) if event.node == node.number]
