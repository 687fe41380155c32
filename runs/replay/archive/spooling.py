"""The rows of a session as files, all of one moment, so that a session that runs on is whole in its archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from django.db import connection, transaction
from django.db.models import Model, QuerySet

from runs.blobs import BlobError, blob_store
from runs.events.read import all_after
from runs.events.types import decode_event
from runs.models import LmCall, Node, NodeMessage, Session, SessionMeter, Step
from runs.replay.archive import format as form
from runs.replay.archive.contents import SnapshotContents, texts_of
from runs.replay.archive.errors import CannotExport
from runs.replay.archive.rows import (
    CallRow,
    ContextRow,
    DroppedRow,
    MessageRow,
    Meter,
    NodeRow,
    Row,
    SessionRow,
    SnapshotRow,
    StepRow,
)
from runs.replay.archive.secrets import without_secrets
from runs.replay.origin import origin_of
from sandboxes.manifest import ManifestError
from sandboxes.models import Snapshot

ROWS_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class Options:
    """A snapshot holds the context and what was made of it: without the context there are no snapshots either."""

    context: bool = True
    snapshots: bool = True

    @property
    def with_snapshots(self) -> bool:
        return self.context and self.snapshots


@dataclass(slots=True)
class Spooled:
    """What the archive will hold besides `contents`. The tables are files in `folder`."""

    folder: Path
    options: Options
    session: SessionRow
    removed: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    contents: set[str] = field(default_factory=set)
    snapshots_left_out: int = 0


def spool(session: Session, options: Options, folder: Path) -> Spooled:
    """Write the tables of the session to `folder`. Raises `CannotExport`."""
    with _one_moment():
        session = Session.objects.select_related("context", "meter").get(pk=session.pk)
        config, removed = without_secrets(session.config)
        spooled = Spooled(folder, options, _session(session, config), removed)
        spooled.counts = {
            form.CONTEXTS: _write(folder / form.CONTEXTS, [_context(session, spooled)]),
            form.NODES: _write(folder / form.NODES, _nodes(session, spooled)),
            form.STEPS: _write(folder / form.STEPS, _steps(session)),
            form.MESSAGES: _write(folder / form.MESSAGES, _messages(session)),
            form.CALLS: _write(folder / form.CALLS, _calls(session)),
            form.SNAPSHOTS: _write(folder / form.SNAPSHOTS, _snapshots(session, spooled)),
            form.EVENTS: _write_lines(folder / form.EVENTS, _events(session, spooled)),
        }
    spooled.contents.discard("")
    return spooled


@contextmanager
def _one_moment() -> Iterator[None]:
    """All reads see the database as it was at the first."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _write(path: Path, rows: Iterable[Row]) -> int:
    return _write_lines(path, map(msgspec.json.encode, rows))


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    count = 0
    with path.open("wb") as file:
        for line in lines:
            if len(line) >= form.LIMITS.line_bytes:
                raise CannotExport(f"A row of {path.name} has {len(line):,} bytes; that is more than an archive takes.")
            file.write(line + b"\n")
            count += 1
    return count


def _all(rows: QuerySet[Any], *order: str) -> Iterator[Any]:
    """Row by row from a cursor: texts of a long conversation are not all in memory."""
    return rows.order_by(*order).iterator(chunk_size=ROWS_AT_A_TIME)


def _fields(kind: type[Row], row: Model, **others: Any) -> dict[str, Any]:
    """The fields of an archive's row that a database row has under the same name."""
    names = [name for name in kind.__struct_fields__ if name not in others]
    return {**{name: getattr(row, name) for name in names}, **others}


def _session(session: Session, config: dict[str, Any]) -> SessionRow:
    origin = origin_of(session.origin)
    meter: SessionMeter = session.meter
    counters = {name: max(0, getattr(meter, name)) for name in Meter.__struct_fields__}
    after = origin.step if origin is not None else 0
    return SessionRow(**_fields(SessionRow, session, config=config, forked_after=after, meter=Meter(**counters)))


def _context(session: Session, spooled: Spooled) -> ContextRow:
    context = session.context
    sha256 = context.sha256 if spooled.options.context else ""
    spooled.contents.add(sha256)
    return ContextRow(**_fields(ContextRow, context, sha256=sha256))


def _nodes(session: Session, spooled: Spooled) -> Iterator[NodeRow]:
    rows = Node.objects.filter(session=session).select_related("parent", "parent_step")
    for node in _all(rows, "number"):
        spooled.contents |= {node.prompt_sha256, node.answer_sha256}
        parent = node.parent.number if node.parent else None
        step = node.parent_step.number if node.parent_step else None
        yield NodeRow(**_fields(NodeRow, node, parent=parent, parent_step=step))


def _steps(session: Session) -> Iterator[StepRow]:
    rows = Step.objects.filter(session=session).select_related("node")
    for step in _all(rows, "node__number", "number"):
        yield StepRow(**_fields(StepRow, step, node=step.node.number))


def _messages(session: Session) -> Iterator[MessageRow]:
    rows = NodeMessage.objects.filter(node__session=session).select_related("node")
    for message in _all(rows, "node__number", "epoch", "position"):
        yield MessageRow(**_fields(MessageRow, message, node=message.node.number))


def _calls(session: Session) -> Iterator[CallRow]:
    rows = LmCall.objects.filter(session=session).select_related("step__node")
    for call in _all(rows, "number"):
        yield CallRow(**_fields(CallRow, call, node=call.step.node.number, step=call.step.number))


def _snapshots(session: Session, spooled: Spooled) -> Iterator[SnapshotRow]:
    """Portable ones that were not given up. One whose contents are gone is left out and counted."""
    if not spooled.options.with_snapshots:
        return
    numbers = dict(Node.objects.filter(session=session).values_list("uuid", "number"))
    rows = Snapshot.objects.filter(
        session_uuid=session.uuid, node_uuid__in=numbers, kind=Snapshot.Kind.PORTABLE, collected_at=None
    ).select_related("parent")
    contents = SnapshotContents(blob_store().get)
    held = set()
    for row in sorted(rows, key=lambda row: (numbers[row.node_uuid], row.step_number)):
        if not _held(contents, row.manifest_sha256):
            spooled.snapshots_left_out += 1
            continue
        held.add(row.uuid)
        parent = row.parent.uuid if row.parent is not None and row.parent.uuid in held else None
        dropped = [msgspec.convert(each, DroppedRow) for each in row.dropped]
        yield SnapshotRow(**_fields(SnapshotRow, row, node=numbers[row.node_uuid], parent=parent, dropped=dropped))
    spooled.contents |= contents.found


def _held(contents: SnapshotContents, manifest_sha256: str) -> bool:
    try:
        contents.add(manifest_sha256)
    except (BlobError, ManifestError, zstandard.ZstdError):
        return False
    return True


def _events(session: Session, spooled: Spooled) -> Iterator[bytes]:
    for line in all_after(session.pk):
        spooled.contents.update(text.sha256 for text in texts_of(decode_event(line)))
        yield line.encode()
