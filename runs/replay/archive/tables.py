"""Do the rows of an archive fit together? Looked at once, in the order in which they stand; only keys are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from runs.engine.state import node_state, step_state
from runs.events.types import BlobText, NodeStarted, SessionStarted
from runs.replay.archive import format as form
from runs.replay.archive.contents import texts_of
from runs.replay.archive.decoding import document, events, rows
from runs.replay.archive.errors import ArchiveInvalid
from runs.replay.archive.reading import Archive, Tick
from runs.replay.archive.rows import (
    About,
    CallRow,
    ContextRow,
    MessageRow,
    NodeRow,
    SessionRow,
    SnapshotRow,
    StepRow,
)
from runs.replay.archive.secrets import without_secrets
from runs.services.config import InvalidConfig, SessionConfig
from runs.services.config_check import check_limits, config_from_outside

KeyT = TypeVar("KeyT", bound=Any)


class Tables:
    """The rows of one archive, checked. Raises `ArchiveInvalid` or `ArchiveTooLarge` when they are not sound."""

    def __init__(self, archive: Archive, tick: Tick) -> None:
        self._archive = archive
        self._tick = tick
        self._counts: dict[str, int] = {}
        self._depths: dict[int, int] = {}
        self._steps: set[tuple[int, int]] = set()
        self._parents: list[tuple[int, int, int]] = []
        self.named: set[str] = set()
        """Contents that rows and events name, but for what snapshots need."""
        self.sizes: dict[str, int] = {}
        """What was said of their sizes, in bytes."""
        self.manifests: list[str] = []
        self.snapshots: set[UUID] = set()
        self.about = document(archive, form.ABOUT, About)
        self.session = document(archive, form.SESSION, SessionRow)
        self.config = _config(self.session)
        self.context = self._context()
        self._nodes()
        self._read_steps()
        self._messages()
        self._calls()
        self._snapshots()
        self._events()
        self._compare_counts()
        self.named.discard("")

    def _context(self) -> ContextRow:
        found = list(rows(self._archive, form.CONTEXTS, ContextRow))
        self._counts[form.CONTEXTS] = len(found)
        if len(found) != 1:
            raise ArchiveInvalid(f"{form.CONTEXTS} has {len(found)} rows; a session has one context.")
        context = found[0]
        if bool(context.sha256) != self.about.with_context:
            raise ArchiveInvalid(f"{form.ABOUT} and {form.CONTEXTS} do not agree whether the context is here.")
        self._name(context.sha256, context.size_bytes)
        return context

    def _nodes(self) -> None:
        order = self._order(form.NODES)
        places = set()
        for node in rows(self._archive, form.NODES, NodeRow):
            order(node.number)
            self._depths[node.number] = self._depth_of(node)
            place = (node.parent, node.parent_step, node.cell, node.subcall, node.index)
            if place in places:
                raise ArchiveInvalid(f"Node {node.number} was opened where another one was.")
            places.add(place)
            if node.parent is not None and node.parent_step is not None:
                self._parents.append((node.number, node.parent, node.parent_step))
            if node.number == 0 and (node.status == "running") != (self.session.status == "running"):
                raise ArchiveInvalid(f"The session is {self.session.status} and its root {node.status}.")
            self.named |= {node.prompt_sha256, node.answer_sha256}
            _state(node_state, node.state, f"the state of node {node.number}")
        if 0 not in self._depths:
            raise ArchiveInvalid("The session has no root.")

    def _depth_of(self, node: NodeRow) -> int:
        if (node.number == 0) != (node.parent is None) or (node.parent is None) != (node.parent_step is None):
            raise ArchiveInvalid(f"Node {node.number} has no parent and step where it should, or the other way round.")
        if node.parent is not None and node.parent not in self._depths:
            raise ArchiveInvalid(f"Node {node.number} comes before its parent {node.parent}.")
        expected = 0 if node.parent is None else self._depths[node.parent] + 1
        if node.depth != expected:
            raise ArchiveInvalid(f"Node {node.number} is said to be at depth {node.depth}; it is at {expected}.")
        if node.parent is not None and not node.prompt_sha256:
            raise ArchiveInvalid(f"Node {node.number} has no prompt.")
        return expected

    def _read_steps(self) -> None:
        order = self._order(form.STEPS)
        for step in rows(self._archive, form.STEPS, StepRow):
            order((step.node, step.number))
            self._require_node(step.node, f"Step {step.number}")
            self._steps.add((step.node, step.number))
            _state(step_state, step.state, f"the state of step {step.number} of node {step.node}")
            _state(node_state, step.node_state, f"the state after step {step.number} of node {step.node}")
        for number, parent, parent_step in self._parents:
            self._require_step(parent, parent_step, f"Node {number}")

    def _messages(self) -> None:
        order = self._order(form.MESSAGES)
        for message in rows(self._archive, form.MESSAGES, MessageRow):
            order((message.node, message.epoch, message.position))
            self._require_node(message.node, f"Message {message.position}")

    def _calls(self) -> None:
        order = self._order(form.CALLS)
        places = set()
        for call in rows(self._archive, form.CALLS, CallRow):
            order(call.number)
            self._require_step(call.node, call.step, f"Call {call.number}")
            place = (call.node, call.step, call.cell, call.subcall, call.index)
            if place in places:
                raise ArchiveInvalid(f"Call {call.number} was made where another one was.")
            places.add(place)
            if call.number > self.session.meter.last_call:
                raise ArchiveInvalid(f"Call {call.number} comes after the last, {self.session.meter.last_call}.")

    def _snapshots(self) -> None:
        order = self._order(form.SNAPSHOTS)
        for row in rows(self._archive, form.SNAPSHOTS, SnapshotRow):
            order((row.node, row.step_number))
            self._require_step(row.node, row.step_number, f"Snapshot {row.uuid}")
            if row.uuid in self.snapshots or (row.parent is not None and row.parent not in self.snapshots):
                raise ArchiveInvalid(f"Snapshot {row.uuid} is there twice, or comes before its parent.")
            if not self.about.with_snapshots or not self.about.with_context:
                raise ArchiveInvalid(f"{form.ABOUT} says that there are no snapshots; there are.")
            self.snapshots.add(row.uuid)
            self.manifests.append(row.manifest_sha256)

    def _events(self) -> None:
        count = 0
        for row, event in events(self._archive):
            count += 1
            self._tick()
            place = f"{form.EVENTS}, line {count}"
            if row.seq != count:
                raise ArchiveInvalid(f"{place}: the event has the number {row.seq}. The log has a gap.")
            if (count == 1) != isinstance(event, SessionStarted):
                raise ArchiveInvalid(f"{place}: a log begins with the start of the session, and has one.")
            if row.node is not None:
                self._require_node(row.node, place)
            if isinstance(event, NodeStarted) and event.parent is not None:
                self._require_node(event.parent, place)
            for text in texts_of(event):
                self._require_text(text, place)
        self._counts[form.EVENTS] = count
        if count != self.session.meter.last_seq:
            raise ArchiveInvalid(f"The session counts {self.session.meter.last_seq} events; the archive has {count}.")

    def _compare_counts(self) -> None:
        counts = {**self._counts, "blobs": len(self._archive.contents)}
        if counts != self.about.counts:
            raise ArchiveInvalid(f"{form.ABOUT} counts {self.about.counts}; there are {counts}.")
        if self.session.meter.nodes != len(self._depths):
            raise ArchiveInvalid(f"The session counts {self.session.meter.nodes} nodes; there are {len(self._depths)}.")

    def _order(self, table: str) -> Callable[[KeyT], None]:
        """Rows stand in the order of their keys, so that none is there twice."""
        self._counts[table] = 0
        last: list[Any] = []

        def check(key: KeyT) -> None:
            self._tick()
            self._counts[table] += 1
            if last and key <= last[0]:
                raise ArchiveInvalid(f"{table}: the row {key} comes after {last[0]}.")
            last[:] = [key]

        return check

    def _require_node(self, number: int, whose: str) -> None:
        if number not in self._depths:
            raise ArchiveInvalid(f"{whose} is of node {number}, and there is none.")

    def _require_step(self, node: int, step: int, whose: str) -> None:
        if (node, step) not in self._steps:
            raise ArchiveInvalid(f"{whose} is of step {step} of node {node}, and there is none.")

    def _require_text(self, text: BlobText, place: str) -> None:
        if not form.is_sha256(text.sha256):
            raise ArchiveInvalid(f"{place}: {text.sha256[:80]!r} is no SHA-256.")
        self._name(text.sha256, text.size)

    def _name(self, sha256: str, size_bytes: int) -> None:
        if sha256:
            self.named.add(sha256)
            if self.sizes.setdefault(sha256, size_bytes) != size_bytes:
                raise ArchiveInvalid(f"The content {sha256} is said to have {size_bytes} bytes, and another number.")


def _config(session: SessionRow) -> SessionConfig:
    """Never with a key: an archive that names one of a team here must not get to use it."""
    try:
        config = config_from_outside(without_secrets(session.config)[0])
        check_limits(config.limits)
    except InvalidConfig as error:
        raise ArchiveInvalid(f"{form.SESSION}: the configuration is not valid: {error}.") from error
    return config


def _state(convert: Callable[[object], object], plain: dict[str, Any], what: str) -> None:
    try:
        convert(plain)
    except msgspec.ValidationError as error:
        raise ArchiveInvalid(f"{what[:1].upper()}{what[1:]} is not valid: {error}.") from error
