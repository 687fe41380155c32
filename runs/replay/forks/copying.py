"""Copying the common past: rows with new identities, events with new numbers. Runs inside the fork's transaction."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

from django.db import connection

from runs.models import LmCall, Node, NodeMessage, Session, Step
from runs.replay.forks.past import Past, copied_events
from sandboxes.models import Snapshot

BATCH_ROWS = 1000
INHERITED_CALL = {"inherited": True, "reserved_tokens": 0, "reserved_output_tokens": None, "reserved_micro_usd": 0}


class PastCopy:
    """Copies the rows of `past` from `source` to `session`."""

    def __init__(self, source: Session, session: Session, past: Past) -> None:
        self._source = source
        self._session = session
        self._past = past
        self.new_nodes: dict[int, Node] = {}
        self.snapshot_of: dict[Any, Any] = {}
        self._snapshot_names: dict[str, str] = {}
        self.last_call = 0

    def rows(self) -> None:
        self._nodes()
        steps = self._steps()
        self._messages()
        self._calls(steps)
        self._snapshots()
        self._blob_uses()

    def _nodes(self) -> None:
        """All but their place below their parents' steps, which are not copied yet."""
        past = self._past
        for node in past.nodes:
            new = _clone(node, session=self._session, number=past.number_of[node.number], depth=past.depth_of(node))
            new.uuid, new.parent, new.parent_step = uuid4(), None, None
            new.sandbox_ref, new.sandbox_uuid, new.sandbox_generation, new.runner_seq = "", None, 0, 0
            new.base_snapshot, new.base_code = None, ""
            if node.pk == past.top.pk:
                new.status, new.finished_at, new.answer_sha256, new.answer_partial = "running", None, "", False
                new.error_type, new.error_message, new.prompt_sha256, new.cell = "", "", "", 0
                new.subcall, new.index = "", 0
            self.new_nodes[node.pk] = new
        Node.objects.bulk_create(self.new_nodes.values(), batch_size=BATCH_ROWS)

    def _steps(self) -> dict[int, Step]:
        steps: dict[int, Step] = {}
        top = self._past.top
        for step in Step.objects.filter(node__in=self.new_nodes).order_by("pk"):
            if step.node_id == top.pk and step.number > self._past.step:
                continue
            new = _clone(step, session=self._session, node=self.new_nodes[step.node_id], inherited=True)
            new.uuid, new.lease_token, new.lease_expires_at = uuid4(), None, None
            steps[step.pk] = new
        Step.objects.bulk_create(steps.values(), batch_size=BATCH_ROWS)
        children = []
        for node in self._past.nodes[1:]:
            new_node = self.new_nodes[node.pk]
            assert node.parent_id is not None
            assert node.parent_step_id is not None
            new_node.parent, new_node.parent_step = self.new_nodes[node.parent_id], steps[node.parent_step_id]
            children.append(new_node)
        Node.objects.bulk_update(children, ["parent", "parent_step"], batch_size=BATCH_ROWS)
        return steps

    def _messages(self) -> None:
        top = self._past.top
        rows = NodeMessage.objects.filter(node__in=self.new_nodes).order_by("pk")
        kept = (row for row in rows if row.node_id != top.pk or row.step_number <= self._past.step)
        NodeMessage.objects.bulk_create(
            (_clone(row, node=self.new_nodes[row.node_id]) for row in kept), batch_size=BATCH_ROWS
        )

    def _calls(self, steps: dict[int, Step]) -> None:
        new = [
            _clone(
                call,
                session=self._session,
                step=steps[call.step_id],
                inherited=True,
                reserved_tokens=0,
                reserved_output_tokens=None,
                reserved_micro_usd=0,
            )
            for call in LmCall.objects.filter(step__in=steps).order_by("pk")
        ]
        self.last_call = max((call.number for call in new), default=0)
        LmCall.objects.bulk_create(new, batch_size=BATCH_ROWS)

    def _snapshots(self) -> None:
        nodes = {node.uuid: self.new_nodes[node.pk] for node in self._past.nodes}
        new: dict[int, Snapshot] = {}
        for row in Snapshot.objects.filter(node_uuid__in=nodes, collected_at=None).order_by("step_number", "pk"):
            if row.node_uuid == self._past.top.uuid and row.step_number > self._past.step:
                continue
            copy = _clone(
                row, uuid=uuid4(), session_uuid=self._session.uuid, node_uuid=nodes[row.node_uuid].uuid, stored_bytes=0
            )
            copy.sandbox, copy.parent, copy.pinned = None, None, False
            new[row.pk] = copy
            self.snapshot_of[row.uuid] = copy.uuid
            self._snapshot_names[str(row.uuid)] = str(copy.uuid)
        Snapshot.objects.bulk_create(new.values(), batch_size=BATCH_ROWS)
        parents = dict(Snapshot.objects.filter(pk__in=new).values_list("pk", "parent_id"))
        for pk, copy in new.items():
            copy.parent = new.get(parents[pk] or 0)
        Snapshot.objects.bulk_update(new.values(), ["parent"], batch_size=BATCH_ROWS)

    def _blob_uses(self) -> None:
        """All of the source's: what of them the past needs is not worth finding out."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO runs_blobuse (session_id, sha256) SELECT %s, sha256 FROM runs_blobuse WHERE session_id = %s"
                " ON CONFLICT DO NOTHING",
                [self._session.pk, self._source.pk],
            )

    def events(self, after: int) -> int:
        """Copy the events of the past as those after `after`; how many there were."""
        numbers = count(after + 1)
        total = 0
        rows: list[tuple[Any, ...]] = []
        for at_ms, kind, node, data in copied_events(self._source, self._past, self._snapshot_names):
            rows.append((next(numbers), at_ms, kind, node, data))
            total += 1
            if len(rows) >= BATCH_ROWS:
                self._insert(rows)
                rows = []
        self._insert(rows)
        return total

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        columns = list(map(list, zip(*rows, strict=True)))
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO runs_event (session_id, seq, at_ms, type, node, data) SELECT %s, * FROM"
                " unnest(%s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::text[])",
                [self._session.pk, *columns],
            )


def _clone(row: Any, **fields: Any) -> Any:
    """An unsaved copy of a row with other values in some fields."""
    values = {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key
    }
    new = type(row)(**values)
    for name, value in fields.items():
        setattr(new, name, value)
    return new
