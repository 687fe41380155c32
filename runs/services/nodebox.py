"""The sandbox of one node, as the driver sees it: opened early, attached when needed, replaced when lost.

A sandbox outlives the tasks that use it. A worker that takes a node over attaches to the sandbox that is there; when it
is gone, a new one is brought to the same state by running the node's finished cells again with recorded replies
(`runs.services.rebuild`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeVar
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError

from rlmweb.quotas.services import bind, release
from runs.models import Node
from runs.services.boxsetup import SETUP_TIMEOUT_S, ContextRefused, make_setup
from runs.services.config import SessionConfig
from runs.services.places import places_of, session_spec
from runs.services.quota_boxes import reserve_box, settle_box_of
from sandboxes import aio
from sandboxes import services as sandbox_services
from sandboxes.choosing import Created
from sandboxes.contract import Sandbox, Spec
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.frames import RunnerError, RunnerFrame, SetupDone, State
from sandboxes.link import RunnerLink
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

ATTACH_TIMEOUT_S = 30.0
Frames = SimpleQueue[RunnerFrame | SandboxError]
T = TypeVar("T")


class NodeBox:
    """One node's sandbox and the link to its runner. `put` receives frames and losses, from other threads."""

    def __init__(self, node: Node, config: SessionConfig, put: Callable[[RunnerFrame | SandboxError], None]) -> None:
        self.node = node
        self.config = config
        self.seen_seq = node.runner_seq
        """Newest frame that was fed to the engine; it is acknowledged once it is committed."""
        self.notes: list[str] = []
        """What the runner said of the contexts it loaded; for the session's log."""
        self.restored: Snapshot | None = None
        """What the sandbox was restored from, where this worker did it."""
        self.distrusted: set[UUID] = set()
        """Snapshots whose contents are damaged: the sandbox is not restored from them again."""
        self._put = put
        self._delivering = Lock()
        self._creating: Future[Created] | None = None
        self._reserved: UUID | None = None
        """What quotas hold for the sandbox that is being created."""
        self._sandbox: Sandbox | None = None
        self._opened_at: float | None = None
        self.link: RunnerLink | None = None

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that `attach` reached."""
        assert self._sandbox is not None
        return self._sandbox

    @property
    def age_s(self) -> float:
        """How long the present sandbox has run; 0 before there is one."""
        if self._opened_at is None and self.node.sandbox_ref:
            self._opened_at = sandbox_services.created_at(self.node.sandbox_ref)
        return time.time() - self._opened_at if self._opened_at is not None else 0.0

    @property
    def is_new(self) -> bool:
        """No sandbox was ever recorded for this generation."""
        return not self.node.sandbox_ref

    @property
    def is_first(self) -> bool:
        """No sandbox of this node was ever lost."""
        return self.node.sandbox_generation == 0

    def distrust(self) -> bool:
        """A content of what the sandbox was restored from is damaged: do not take that again. False when there is no
        other way: the node starts from it."""
        found = [self.restored] if self.restored is not None else Snapshot.objects.filter(node_uuid=self.node.uuid)
        self.distrusted.update(row.uuid for row in found if row.uuid != self.node.base_snapshot)
        return self.restored is None or self.restored.uuid in self.distrusted

    def prefetch(self) -> None:
        """Start the creation now, so that it happens while the model thinks. Raises `QuotaExceeded`: then nothing was."""
        if self.is_new and self._creating is None:
            try:
                places = places_of(self.config, self.node.session.team)
            except SandboxError as error:
                self._creating = Future()
                self._creating.set_exception(error)  # told to whoever opens it: creating is only begun early here
                return
            self._reserved = reserve_box(self.node, self.spec())
            self._creating = aio.submit(sandbox_services.create(places, self.spec(), self._key()))

    def open(self) -> sandbox_services.Opened:
        """The created sandbox with its row; the caller records it on the node. Raises `SandboxError`."""
        self.prefetch()
        assert self._creating is not None
        try:
            created = _wait(self._creating, sandbox_services.CREATE_TIMEOUT_S)
        except SandboxError:
            self._release()
            raise
        self._sandbox = created.sandbox
        self.notes += [f"No room at {said}. The sandbox is at {created.place.name}." for said in created.passed_over]
        session, node = self.node.session, self.node
        opened = sandbox_services.note_created(created, session_uuid=session.uuid, node_uuid=node.uuid)
        if self._reserved is not None:
            bind(self._reserved, opened.record.uuid)
            self._reserved = None
        return opened

    def _release(self) -> None:
        """There is no sandbox: nothing is held for one."""
        if self._reserved is not None:
            release(self._reserved)
            self._reserved = None

    def attach(self) -> State:
        """Become the runner's host and set the REPL up if nobody has. Raises `NotFound` when the sandbox is gone."""
        if self._sandbox is None:
            self._sandbox = sandbox_services.reconnect(self.node.sandbox_ref)
        with self.diverted() as frames:
            self.link = RunnerLink(self._sandbox, self._deliver, self._deliver)
            state = self.link.attach(self.seen_seq, timeout_s=ATTACH_TIMEOUT_S)
            if not state.setup:
                self._set_up(self._sandbox, self.link, frames)
        return state

    def acknowledge(self, seq: int) -> None:
        """Frames up to `seq` are on record."""
        if self.link is not None and seq > self.node.runner_seq:
            self.link.ack(seq)
        self.node.runner_seq = seq

    def lose(self) -> None:
        """The sandbox is gone: the next one is of a new generation."""
        self.close()
        if self.node.sandbox_ref:
            sandbox_services.mark_lost(self.node.sandbox_ref)
            settle_box_of(self.node.sandbox_ref)
        self._sandbox = None
        self.restored = None
        self._opened_at = None
        self._creating = None
        self.node.sandbox_ref = ""
        self.node.sandbox_generation += 1
        self.seen_seq = 0
        self.node.runner_seq = 0

    def terminate(self) -> None:
        """End the sandbox with everything in it."""
        self.close()
        if self.node.sandbox_ref:
            sandbox_services.terminate([self.node.sandbox_ref])

    def end_unrecorded(self) -> None:
        """End a sandbox that was created while its node came to its end: no record leads to it from there."""
        if self._creating is None:
            return
        try:
            status, ref = Node.objects.values_list("status", "sandbox_ref").get(pk=self.node.pk)
        except (OperationalError, InterfaceError) as error:
            logger.warning("a sandbox of node %s may be left for `end_orphans`: %s", self.node.pk, error)
            return
        # While the node runs, whoever goes on with it asks for a sandbox with the same key and gets this one.
        if status == Node.Status.RUNNING or (ref and ref == self.node.sandbox_ref):
            return
        if self.node.sandbox_ref:
            sandbox_services.mark_ended([self.node.sandbox_ref])
        self._creating.add_done_callback(_end_created)

    @contextmanager
    def diverted(self) -> Iterator[Frames]:
        """Frames and losses go to a queue of their own for a while; what is left in it afterwards goes its usual way."""
        frames: Frames = SimpleQueue()
        with self._delivering:
            original, self._put = self._put, frames.put
        try:
            yield frames
        finally:
            with self._delivering:
                while not frames.empty():
                    original(frames.get())
                self._put = original

    def close(self) -> None:
        """Let go of the channel; the sandbox stays."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def _deliver(self, signal: RunnerFrame | SandboxError) -> None:
        with self._delivering:
            self._put(signal)

    def _set_up(self, sandbox: Sandbox, link: RunnerLink, frames: Frames) -> None:
        link.setup(make_setup(self.node, self.config, sandbox))
        done = self._await_setup(frames)
        self.notes += done.notes
        if done.error is not None:
            raise ContextRefused(f"{done.error.type}: {done.error.message}")

    def _await_setup(self, frames: Frames) -> SetupDone:
        while True:
            try:
                frame = frames.get(timeout=SETUP_TIMEOUT_S)
            except Empty:
                raise StreamLost("the sandbox did not load the context in time", resumable=False) from None
            if isinstance(frame, SandboxError):
                raise frame
            if not isinstance(frame, State):
                self.seen_seq = max(self.seen_seq, frame.seq)
            if isinstance(frame, SetupDone):
                return frame
            if isinstance(frame, RunnerError):
                raise ContextRefused(f"{frame.code}: {frame.message}")

    def spec(self) -> Spec:
        """What the session asks of this node's sandbox."""
        return session_spec(self.config, {"session": str(self.node.session.uuid), "node": str(self.node.number)})

    def _key(self) -> str:
        """Safe to retry for the first sandbox. A later one is rebuilt from nothing: nobody may find it half done."""
        generation = self.node.sandbox_generation
        return f"{self.node.uuid}:{generation}" + (f":{uuid4()}" if generation else "")


def _end_created(creating: Future[Created]) -> None:
    if not creating.cancelled() and creating.exception() is None:
        sandbox_services.terminate_created_soon(creating.result())


def _wait(future: Future[T], timeout_s: float) -> T:
    return future.result(timeout_s)
