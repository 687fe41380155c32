"""Scratch boxes: sandboxes restored from a snapshot to look, to run again, to score. They touch nothing of the session.

A scratch box is a sandbox of its own, ended when the `with` block ends, and by the reconciler when the process dies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import msgspec
from django.utils import timezone

from rlmweb.quotas.services import bind, release
from runs.blobs import blob_store
from runs.engine.limits import Limits
from runs.models import Node, Session
from runs.services.boxsetup import SETUP_TIMEOUT_S, make_setup
from runs.services.config import SessionConfig, config_from_plain
from runs.services.places import places_of
from runs.services.quota_boxes import reserve_scratch
from runs.services.snapshots.reading import (
    SnapshotCorrupt,
    SnapshotError,
    decode_manifest_of,
    is_untouched,
    manifest_text,
    named,
    restore_failed,
)
from runs.services.snapshots.supplying import lacking, supply
from runs.services.snapshots.talk import BoxTalk
from runs.text import scrub
from sandboxes import aio
from sandboxes import services as sandbox_services
from sandboxes.contract import Sandbox
from sandboxes.errors import ExecTimeout, SandboxError
from sandboxes.frames import (
    CellError,
    Evaluated,
    Finished,
    Need,
    Output,
    Payload,
    Restored,
    RunnerError,
    RunnerFrame,
    Setup,
    SetupDone,
    SnapshotDone,
    SubCall,
    Variable,
)
from sandboxes.manifest import MAX_MANIFEST_BYTES, Manifest, decode_manifest
from sandboxes.models import SandboxRecord, Snapshot
from sandboxes.side import SideLink

logger = logging.getLogger(__name__)

LIFETIME_S = 1800
GRACE_S = 10.0
MAX_VALUE_BYTES = 4 * 1024 * 1024
MAX_PROMPT_BYTES = 64 * 1024 * 1024
NO_COPY = ("no_snapshot", "unsupported")
"""Statuses of an evaluation for which there is no parked copy."""
NO_MODELS = "no model is asked in a scratch sandbox"


class Evaluation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of code that was evaluated. status: `ok`, `error` (it raised), `timeout`, `killed`.

    `value` is the `repr` of a last expression, None when the code ended in a statement.
    """

    status: str
    value: str | None = None
    output: str = ""
    output_bytes: int = 0
    error: CellError | None = None
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ScratchAnswer:
    """The answer to one prompt of a sub-call: text, or an error for the code."""

    text: str | None = None
    error: str | None = None


Answering = Callable[[SubCall, int, str], "ScratchAnswer | None"]
"""(frame, index, prompt) to the answer; None leaves the prompt without one."""


@dataclass(slots=True)
class CellOutcome:
    """A cell that was run again. `calls` are its sub-calls in order, with their prompts' texts."""

    finished: Finished
    stdout: str = ""
    stderr: str = ""
    final: str | None = None
    variables: list[Variable] = field(default_factory=list)
    calls: list[tuple[SubCall, list[str]]] = field(default_factory=list)


class Evaluates(Protocol):
    """Something with a state in which code can be evaluated."""

    def evaluate(self, code: str, *, timeout_s: float = 5.0, max_output_bytes: int = 256 * 1024) -> Evaluation: ...


class ScratchBox:
    """A restored sandbox. Every method raises `SandboxError` when it is lost."""

    def __init__(self, sandbox: Sandbox, node: Node | None) -> None:
        self.sandbox = sandbox
        self._node = node
        self._store = blob_store()
        self._talk = BoxTalk(sandbox, self._serve)
        self._count = 0
        self._restored: Snapshot | None = None

    def evaluate(self, code: str, *, timeout_s: float = 5.0, max_output_bytes: int = 256 * 1024) -> Evaluation:
        """Run `code` and return what it printed and the value of its last expression."""
        outcome = self._run(code, timeout_s, lambda *_: ScratchAnswer(error=NO_MODELS), show=True)
        finished = outcome.finished
        text = outcome.stdout + outcome.stderr
        return Evaluation(
            status=finished.status,
            value=self._text(finished.value) if finished.value is not None else None,
            output=text.encode()[:max_output_bytes].decode("utf-8", "ignore"),
            output_bytes=finished.output_bytes + finished.dropped_bytes,
            error=finished.error,
            duration_ms=finished.duration_ms,
        )

    def run_cell(self, code: str, *, timeout_s: float, answer: Answering) -> CellOutcome:
        """Run a cell as a session would, its sub-calls answered by `answer`."""
        return self._run(code, timeout_s, answer, show=False)

    def state(self) -> Manifest:
        """The manifest of the present state; its contents are not stored. Raises `SnapshotError`."""
        return self._state(live=False)[1]

    @contextmanager
    def copy(self) -> Iterator[Evaluates]:
        """A copy of the present state: what is evaluated in it leaves no trace in this one.

        Raises `SnapshotError`, and `Unsupported` where the provider has no side channels.
        """
        id, _ = self._state(live=True)
        side = SideLink(self.sandbox)
        try:
            yield _Copy(side, id)
        finally:
            side.close()

    def _state(self, *, live: bool) -> tuple[str, Manifest]:
        self._count += 1
        id = f"look-{self._count}"
        self._talk.link.snapshot(id, live=live)
        while True:
            frame = self._talk.next(SETUP_TIMEOUT_S)
            if isinstance(frame, SnapshotDone) and frame.id == id:
                if frame.manifest is None:
                    raise SnapshotError(f"the state could not be written down: {frame.error}")
                return id, decode_manifest(self._text(frame.manifest, MAX_MANIFEST_BYTES))
            if isinstance(frame, RunnerError) and frame.id == id:
                raise SnapshotError(f"the state could not be written down: {frame.message}")

    def get_file(self, path: str, target: str, *, max_bytes: int) -> int:
        """Download a file of the workspace; returns its size in bytes."""
        return aio.run(self.sandbox.get_file(path, target, max_bytes=max_bytes), timeout_s=SETUP_TIMEOUT_S)

    # Bringing it up -------------------------------------------------------------------------------------------------

    def set_up(self, setup: Setup) -> None:
        self._talk.attach()
        self._talk.link.setup(setup)
        done = self._talk.wait_for(SetupDone, SETUP_TIMEOUT_S)
        if done.error is not None:
            raise SnapshotError(f"the sandbox could not be set up: {done.error.type}: {done.error.message}")

    def restore(self, snapshot: Snapshot, text: str) -> None:
        self._restored = snapshot
        self._talk.link.restore("restore", text)
        done = self._talk.wait_for(Restored, SETUP_TIMEOUT_S)
        if done.error is not None:
            raise restore_failed(snapshot, done.error)

    def close(self) -> None:
        self._talk.close()

    # Cells ----------------------------------------------------------------------------------------------------------

    def _run(self, code: str, timeout_s: float, answer: Answering, *, show: bool) -> CellOutcome:
        self._count += 1
        name = f"scratch-{self._count}"
        parts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        calls: list[tuple[SubCall, list[str]]] = []
        self._talk.link.execute(name, code, timeout_s, show=show)
        while True:
            try:
                frame = self._talk.next(timeout_s + GRACE_S + SETUP_TIMEOUT_S)
            except TimeoutError:
                raise ExecTimeout("the scratch sandbox does not end the cell") from None
            if isinstance(frame, Output) and frame.cell == name:
                parts[frame.stream].append(scrub(frame.text))
            elif isinstance(frame, SubCall) and frame.cell == name:
                calls.append((frame, self._answer(frame, answer)))
            elif isinstance(frame, Finished) and frame.cell == name:
                final = self._text(frame.final) if frame.final is not None else None
                texts = {stream: "".join(pieces) for stream, pieces in parts.items()}
                return CellOutcome(frame, texts["stdout"], texts["stderr"], final, frame.variables, calls)
            elif isinstance(frame, RunnerError) and frame.id == name:
                raise SnapshotError(f"the scratch sandbox refused the code: {frame.message}")

    def _answer(self, frame: SubCall, answer: Answering) -> list[str]:
        prompts = [self._text(prompt, MAX_PROMPT_BYTES) for prompt in frame.prompts]
        for index, prompt in enumerate(prompts):
            found = answer(frame, index, prompt)
            if found is not None:
                self._talk.link.answer(frame.call, index, text=found.text, error=found.error)
        return prompts

    def _text(self, payload: Payload, max_bytes: int = MAX_VALUE_BYTES) -> str:
        return scrub(self._talk.link.read_payload(payload, max_bytes))

    def _serve(self, frame: RunnerFrame) -> bool:
        """Frames that are answered whatever is waited for."""
        if not isinstance(frame, Need) or self._node is None:
            return False
        missing = supply(self._talk.link, frame, self._node, self._store)
        if missing:
            raise SnapshotCorrupt(lacking(self._restored, missing))
        return True


@contextmanager
def open_scratch(
    snapshot: Snapshot, *, clock: float | None = None, seed: int | None = None, memory_mb: int | None = None
) -> Iterator[ScratchBox]:
    """A sandbox in the state of `snapshot`, on the session's provider. Raises `SnapshotError`, `SandboxError`."""
    text = manifest_text(snapshot)
    manifest = decode_manifest_of(snapshot, text)
    with open_fresh(_node_of(snapshot), clock=clock, seed=seed, memory_mb=memory_mb) as box:
        if not is_untouched(manifest):
            box.restore(snapshot, text)
        yield box


@contextmanager
def open_fresh(
    node: Node, *, clock: float | None = None, seed: int | None = None, memory_mb: int | None = None
) -> Iterator[ScratchBox]:
    """A sandbox as `node` began in: with its context and tools, and nothing run. Raises `SandboxError`."""
    config = config_from_plain(node.session.config)
    with _opened(node.session, node, config, memory_mb or config.limits.memory_mb) as box:
        box.set_up(make_setup(node, config, box.sandbox, clock=clock, seed=seed))
        yield box


@contextmanager
def open_plain_scratch(session: Session, *, memory_mb: int = 512) -> Iterator[ScratchBox]:
    """An empty sandbox beside `session`, e.g. to score its answer. Raises `SandboxError`."""
    config = config_from_plain(session.config)
    with _opened(session, None, config, memory_mb) as box:
        box.set_up(Setup(id="setup", max_output_bytes=Limits().cell_output_bytes))
        yield box


def evaluate_live(
    snapshot: Snapshot, code: str, *, timeout_s: float = 5.0, max_output_bytes: int = 256 * 1024
) -> Evaluation | None:
    """Evaluate in a fork of the copy that the node's running sandbox parked; None when there is none to be had."""
    node = Node.objects.filter(uuid=snapshot.node_uuid, status=Node.Status.RUNNING).first()
    if node is None or not node.sandbox_ref or snapshot.sandbox is None or snapshot.sandbox.uuid != node.sandbox_uuid:
        return None
    side: SideLink | None = None
    try:
        side = SideLink(sandbox_services.reconnect(node.sandbox_ref))
        said = side.evaluate(f"step-{snapshot.step_number}", code, timeout_s, max_output_bytes)
    except (SandboxError, TimeoutError) as error:
        logger.info("no live copy: %s", error)
        return None
    finally:
        if side is not None:
            side.close()
    return None if said.status in NO_COPY else _evaluation(said)


class _Copy:
    """A copy that a scratch box parked."""

    def __init__(self, side: SideLink, snapshot: str) -> None:
        self._side = side
        self._snapshot = snapshot

    def evaluate(self, code: str, *, timeout_s: float = 5.0, max_output_bytes: int = 256 * 1024) -> Evaluation:
        said = self._side.evaluate(self._snapshot, code, timeout_s, max_output_bytes)
        if said.status in NO_COPY:
            raise SnapshotError(f"the copy of the state is gone: {said.status}")
        return _evaluation(said)


def _evaluation(said: Evaluated) -> Evaluation:
    value = scrub(said.value.text or "") if said.value is not None else None
    return Evaluation(said.status, value, scrub(said.output), said.output_bytes, said.error, said.duration_ms)


@contextmanager
def _opened(session: Session, node: Node | None, config: SessionConfig, memory_mb: int) -> Iterator[ScratchBox]:
    spec = config.sandbox.spec(
        memory_mb=memory_mb,
        lifetime_s=LIFETIME_S,
        idle_s=LIFETIME_S,
        tier=config.tier,
        labels={"session": str(session.uuid), "scratch": "1"},
    )
    places = places_of(config, session.team)
    reserved = reserve_scratch(session, spec)
    try:
        creating = sandbox_services.create(places, spec, f"scratch:{uuid4()}")
        created = aio.run(creating, timeout_s=sandbox_services.CREATE_TIMEOUT_S)
    except BaseException:
        release(reserved)
        raise
    sandbox = created.sandbox
    opened = sandbox_services.note_created(created, session_uuid=session.uuid, node_uuid=node.uuid if node else uuid4())
    bind(reserved, opened.record.uuid)
    SandboxRecord.objects.filter(pk=opened.record.pk).update(kept_until=timezone.now() + timedelta(seconds=LIFETIME_S))
    box = ScratchBox(sandbox, node)
    started = time.monotonic()
    try:
        yield box
    finally:
        box.close()
        sandbox_services.mark_ended([sandbox.ref])
        sandbox_services.terminate_soon([sandbox.ref])
        logger.debug("scratch sandbox ended", extra={"seconds": round(time.monotonic() - started, 2)})


def _node_of(snapshot: Snapshot) -> Node:
    node = Node.objects.select_related("session__context", "session__team").filter(uuid=snapshot.node_uuid).first()
    if node is None:
        raise SnapshotError(f"{named(snapshot)} belongs to a session that was deleted")
    return node
