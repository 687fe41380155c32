"""Writing the rows of a checked archive as a new session. Runs inside the import's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from django.db.models import Model

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import Stored, blob_store
from runs.events.record import Prepared, insert, note_blobs
from runs.events.types import AnyEvent, ErrorInfo, SnapshotFailed, SnapshotTaken, encode_event
from runs.models import Context, LmCall, Node, NodeMessage, Session, SessionMeter, Step
from runs.replay.archive import format as form
from runs.replay.archive.decoding import events, rows
from runs.replay.archive.reading import Archive
from runs.replay.archive.rows import CallRow, EventRow, MessageRow, NodeRow, Row, SnapshotRow, StepRow
from runs.replay.archive.tables import Tables
from runs.replay.origin import Origin, origin_to_plain
from runs.services.config import config_to_plain
from runs.services.endings import end_session_early
from runs.services.policy_stamp import stamp
from runs.services.transaction import SessionTransaction
from sandboxes.models import Snapshot

BATCH_ROWS = 500
WAS_RUNNING = ErrorInfo(
    "Imported",
    "the session was running when the archive was made, and its workers are elsewhere; fork it from its last step to go on",
)
NOT_HELD = "the archive does not hold this snapshot"
UNFINISHED = frozenset({Step.Status.READY, Step.Status.RUNNING, Step.Status.WAITING})
RowT = TypeVar("RowT")


class Recording:
    """One import. `contents`: those of the archive, which are in the store by now."""

    def __init__(self, archive: Archive, tables: Tables, contents: list[Stored], *, actor: Actor, team: Team) -> None:
        self._archive = archive
        self._tables = tables
        self._contents = contents
        self._actor = actor
        self._team = team
        self._running = tables.session.status == "running"
        self._nodes: dict[int, Node] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._snapshots: dict[UUID, UUID] = {uuid: uuid4() for uuid in tables.snapshots}

    def record(self) -> Session:
        session = self._session()
        meter = self._meter(session)
        for stored in batches(self._contents):
            note_blobs(session.pk, stored)
        self._record_nodes(session)
        self._record_steps(session)
        self._place_nodes()
        self._record_messages()
        started = self._record_calls(session)
        self._record_snapshots(session)
        self._record_events(session)
        if self._running:
            self._stop(session, meter, started)
        return session

    def _session(self) -> Session:
        row, tables = self._tables.session, self._tables
        context = tables.context
        origin = Origin(
            kind="import",
            session=str(row.uuid),
            title=row.title,
            step=row.forked_after,
            inherited_seq=row.meter.last_seq,
            installation=tables.about.installation,
            archive=self._archive.digest,
        )
        session = Session.objects.create(
            **_same(row, "title", "question", "status", "answer", "answer_partial", "error_type", "error_message"),
            team=self._team,
            created_by=self._actor.user,
            context=Context.objects.create(
                **_same(context, "name", "kind", "sha256", "size_bytes", "note"),
                team=self._team,
                created_by=self._actor.user,
                source="import",
            ),
            config=config_to_plain(tables.config),
            labels=tables.config.labels,
            origin=origin_to_plain(origin),
            finished_at=row.finished_at,
            policy=stamp(self._team.organisation),
        )
        session.created_at = row.created_at  # the field sets it to now when the row is made
        session.save(update_fields=["created_at"])
        return session

    def _meter(self, session: Session) -> SessionMeter:
        counted = msgspec.structs.asdict(self._tables.session.meter)
        return SessionMeter.objects.create(session=session, **counted)

    def _record_nodes(self, session: Session) -> None:
        """All but their places below their parents' steps, which are not there yet."""
        left_out = {"number", "parent", "parent_step", "base_snapshot", "status"}
        for row in rows(self._archive, form.NODES, NodeRow):
            self._nodes[row.number] = Node(
                **_all_but(row, left_out),
                session=session,
                number=row.number,
                base_snapshot=self._snapshots.get(row.base_snapshot) if row.base_snapshot else None,
                status=row.status if self._running or row.status != "running" else Node.Status.STOPPED,
            )
        Node.objects.bulk_create(self._nodes.values(), batch_size=BATCH_ROWS)

    def _record_steps(self, session: Session) -> None:
        """What had not ended ends here: a step that is due would be taken up by a worker."""
        for found in batches(rows(self._archive, form.STEPS, StepRow)):
            new = [
                Step(
                    **_all_but(row, {"node", "status"}),
                    session=session,
                    node=self._nodes[row.node],
                    inherited=True,
                    status=row.status if self._running or row.status not in UNFINISHED else Step.Status.STOPPED,
                )
                for row in found
            ]
            Step.objects.bulk_create(new)
            self._steps.update({(row.node, row.number): step.pk for row, step in zip(found, new, strict=True)})

    def _place_nodes(self) -> None:
        placed = []
        for row in rows(self._archive, form.NODES, NodeRow):
            if row.parent is not None and row.parent_step is not None:
                node = self._nodes[row.number]
                node.parent, node.parent_step_id = self._nodes[row.parent], self._steps[row.parent, row.parent_step]
                placed.append(node)
        Node.objects.bulk_update(placed, ["parent", "parent_step"], batch_size=BATCH_ROWS)

    def _record_messages(self) -> None:
        for found in batches(rows(self._archive, form.MESSAGES, MessageRow)):
            _create(NodeMessage(**_all_but(row, {"node"}), node=self._nodes[row.node]) for row in found)

    def _record_calls(self, session: Session) -> int:
        """How many of them are still out."""
        started = 0
        for found in batches(rows(self._archive, form.CALLS, CallRow)):
            started += sum(row.status == "started" for row in found)
            _create(
                LmCall(
                    **_all_but(row, {"node", "step", "status"}),
                    session=session,
                    step_id=self._steps[row.node, row.step],
                    inherited=True,
                    status=row.status if self._running or row.status != "started" else LmCall.Status.ABANDONED,
                )
                for row in found
            )
        return started

    def _record_snapshots(self, session: Session) -> None:
        made: dict[UUID, Snapshot] = {}
        parents: dict[UUID, UUID] = {}
        for row in rows(self._archive, form.SNAPSHOTS, SnapshotRow):
            made[row.uuid] = Snapshot(
                **_same(row, "step_number", "provider", "manifest_sha256", "python", "size_bytes"),
                uuid=self._snapshots[row.uuid],
                session_uuid=session.uuid,
                node_uuid=self._nodes[row.node].uuid,
                holds=list(row.holds),
                dropped=[msgspec.to_builtins(each) for each in row.dropped],
            )
            if row.parent is not None:
                parents[row.uuid] = row.parent
        Snapshot.objects.bulk_create(made.values(), batch_size=BATCH_ROWS)
        for uuid, parent in parents.items():
            made[uuid].parent = made[parent]
        Snapshot.objects.bulk_update([made[uuid] for uuid in parents], ["parent"], batch_size=BATCH_ROWS)

    def _record_events(self, session: Session) -> None:
        first = 1
        for found in batches(events(self._archive)):
            prepared = [self._prepared(row, event) for row, event in found]
            insert(session.pk, first, prepared)
            first += len(prepared)

    def _prepared(self, row: EventRow, event: AnyEvent) -> Prepared:
        """Written anew: what a reader does not know of an event, or its number, does not get into the log."""
        if isinstance(event, SnapshotTaken):
            event = self._snapshot_event(event)
        tag = event.__struct_config__.tag
        assert isinstance(tag, str)
        return Prepared(tag, row.node, row.at, encode_event(event).decode(), ())

    def _snapshot_event(self, event: SnapshotTaken) -> SnapshotTaken | SnapshotFailed:
        try:
            uuid = self._snapshots.get(UUID(event.snapshot))
        except ValueError:
            uuid = None
        if uuid is None:
            return SnapshotFailed(node=event.node, step=event.step, reason=NOT_HELD)
        return msgspec.structs.replace(event, snapshot=str(uuid))

    def _stop(self, session: Session, meter: SessionMeter, started: int) -> None:
        meter.lm_calls_reserved = started
        changes = SessionTransaction(session, meter, blob_store())
        end_session_early(changes, Session.Status.STOPPED, WAS_RUNNING)
        changes.flush()


def batches(items: Iterable[RowT]) -> Iterator[list[RowT]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch


def _create(new: Iterable[Model]) -> None:
    made = list(new)
    if made:
        type(made[0])._default_manager.bulk_create(made)


def _same(row: Row, *names: str) -> dict[str, Any]:
    """Fields that a database row has under the same name."""
    return {name: getattr(row, name) for name in names}


def _all_but(row: Row, names: set[str]) -> dict[str, Any]:
    return _same(row, *(name for name in row.__struct_fields__ if name not in names))
