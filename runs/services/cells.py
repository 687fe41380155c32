"""The cells of one step in the node's sandbox: run, answered, watched by the host's own clock, and recovered.

Frames from the runner become inputs of the engine here; what belongs to an earlier cell becomes a `late` output event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from runs.engine.io import (
    AnswerSubcall,
    CellOverdue,
    Input,
    InterruptCell,
    RunCell,
    RunnerSaid,
    SandboxReplaced,
)
from runs.events.types import CellOutput, Event, Log, NodeSandbox
from runs.services.noderun import NodeRun
from runs.services.rebuild import RebuildDiverged, rebuild, rebuild_rest
from runs.services.snapshots.reading import SnapshotCorrupt, SnapshotError
from runs.services.snapshots.restoring import BASE_CELL, base_of, restore
from runs.services.snapshots.supplying import lacking, supply
from runs.text import scrub
from sandboxes.errors import NotFound, SandboxError
from sandboxes.frames import (
    CellError,
    Finished,
    Need,
    Output,
    Payload,
    Ready,
    RunnerError,
    RunnerFrame,
    SetupDone,
    State,
    SubCall,
    Variable,
)
from sandboxes.link import RunnerLink
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""The runner keeps the cell's time; the host's clock is the second line and waits this much longer."""
KILL_GRACE_S = 10.0
"""After the host's interrupt: a runner that does not end the cell by then is not in control of it any more."""
MAX_LOSSES = 3
"""Sandboxes that may be lost one after the other while a state is brought back."""
MOST_VARIABLES = 200
MOST_PART_CHARS = 20_000
"""Bounds for what a runner that code took over may claim of a cell's variables and error."""
PartT = TypeVar("PartT", Variable, CellError)
MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Longest prompt or answer taken from a sandbox."""
MAX_PROMPTS_BYTES = 128 * 1024 * 1024
"""All prompts of a cell that wait for an answer together: ten thousand of them may name the same large file."""


@dataclass(slots=True)
class _Running:
    command: RunCell
    name: str
    deadline: float
    interrupted: bool = False


class StepCells:
    """Runs the cells that the engine asks for. `ready` holds inputs that need no waiting, `events` what to record."""

    def __init__(self, run: NodeRun, step_number: int) -> None:
        self.ready: list[Input] = []
        self.events: list[Event] = []
        self.unsaved_sandbox = False
        self._run = run
        self._box = run.box
        self._step_number = step_number
        self._running: _Running | None = None
        self._asked: set[str] = set()
        self._open_prompts = 0
        self._prompts_left_bytes = MAX_PROMPTS_BYTES

    def prefetch(self) -> None:
        self._box.prefetch()

    def prepare(self) -> None:
        """Before the commit that starts a cell: have a sandbox whose reference the commit can record."""
        if self._box.is_new:
            self._open_sandbox("ready")

    def connect(self) -> None:
        """Reach the sandbox before a cell needs it: what its runner has yet to hand over of snapshots comes in meanwhile.

        A forked node gets its sandbox here, and with it the state that it starts from.
        """
        if self._box.link is not None:
            return
        if self._box.is_new:
            if self._run.node.base_snapshot is None:
                return
            self._open_sandbox("ready")
        try:
            self._attach()
        except NotFound as error:
            logger.info("the sandbox is gone; the next cell will notice: %s", error)

    def start(self, command: RunCell) -> None:
        """After the commit: run the cell, or find it running or done. Idempotent by the cell's name."""
        name = f"{self._step_number}.{command.cell}.{command.attempt}"
        self._running = _Running(command, name, time.monotonic() + command.timeout_s + GRACE_S)
        self._forget_calls()
        try:
            if self._box.link is None:
                self._attach()
            if not self.running:
                return  # it has ended, or runs again in another sandbox
            assert self._box.link is not None
            self._box.link.execute(name, command.code, command.timeout_s)
        except NotFound as error:
            self.replace(str(error))

    def answer(self, command: AnswerSubcall) -> None:
        self._open_prompts -= 1
        if self._open_prompts <= 0:
            self._prompts_left_bytes = MAX_PROMPTS_BYTES
        self._restart_clock()
        if self._box.link is not None:
            self._box.link.answer(command.call.subcall, command.call.index, text=command.text, error=command.error)

    def interrupt(self, command: InterruptCell) -> None:
        if self._running is not None and self._box.link is not None:
            self._box.link.interrupt(self._running.name, command.reason)

    def take(self, frame: RunnerFrame) -> Input | None:
        """An input of the engine from a frame, or None."""
        if isinstance(frame, State | SetupDone | Ready):
            self.seen(frame)
            return None
        if not self.seen(frame):
            return None
        if isinstance(frame, Need) and self._box.link is not None:
            self._supply(self._box.link, frame)
            return None
        if isinstance(frame, RunnerError):
            self._run.snapshots.take_frame(frame, self._step_number)
            self._log(f"runner: {frame.code}: {frame.message}"[:500])
            return None
        if not isinstance(frame, SubCall | Output | Finished):
            return None
        if self._running is None or frame.cell != self._running.name:
            self._take_late(frame)
            return None
        if isinstance(frame, SubCall):
            return self._take_subcall(frame)
        if isinstance(frame, Finished):
            self._running = None
            return RunnerSaid(self._with_texts(frame))
        return RunnerSaid(msgspec.structs.replace(frame, text=scrub(frame.text)))

    @property
    def running(self) -> bool:
        """Is the code of a cell running (or being stopped)?"""
        return self._running is not None

    def overdue(self) -> Input | None:
        """Looks at the host's clock: the running cell is past its time."""
        running = self._running
        if running is None or self._open_prompts > 0 or time.monotonic() < running.deadline:
            return None
        if not running.interrupted:
            running.interrupted = True
            running.deadline = time.monotonic() + KILL_GRACE_S
            return CellOverdue(running.command.cell)
        return self._give_up(running)

    def replace(self, reason: str) -> None:
        """The sandbox is gone: bring a new one to where the running cell began, and run that cell again."""
        node = self._run.node
        self.events.append(
            NodeSandbox(node=node.number, state="lost", sandbox=str(node.sandbox_uuid or ""), reason=reason[:500])
        )
        self._run.snapshots.lose()
        self._box.lose()
        cells_run = self._bring_back()
        for step in self._run.snapshots.unaccounted(before_step=self._step_number):
            if step == self._step_number - 1 and not cells_run:
                self._run.snapshots.take(step)
            else:
                self._run.snapshots.leave_out(step, f"the sandbox was lost before it was stored: {reason}")
        self._forget_calls()
        if self._running is not None:
            self._running = None
            self.ready.append(SandboxReplaced(reason))

    def _bring_back(self) -> int:
        """Returns how many cells of this step ran again."""
        rebuilding = rebuild
        losses = 0
        while True:
            try:
                return self._bring_back_by(rebuilding)
            except NotFound as error:
                losses += 1
                if losses >= MAX_LOSSES:
                    raise
                self._log(f"the sandbox was lost while it was rebuilt: {error}")
            except RebuildDiverged as error:
                if rebuilding is rebuild_rest:
                    raise
                rebuilding = rebuild_rest
                self._log(f"the exact state could not be brought back: {error}")
            except SnapshotError as error:
                if not self._box.distrust():
                    raise
                self._log(str(error), "error")
            self._box.lose()

    def _bring_back_by(self, rebuilding: Callable[..., int]) -> int:
        self._open_sandbox("rebuilt")
        try:
            self._attach(fork=False)
            return rebuilding(self._run, self._box, before_step=self._step_number)
        except SandboxError:
            self._box.terminate()  # nobody must find it half rebuilt
            raise

    def _open_sandbox(self, state: str) -> None:
        opened = self._box.open()
        node = self._run.node
        node.sandbox_ref = opened.sandbox.ref
        node.sandbox_uuid = opened.record.uuid
        self.unsaved_sandbox = True
        self.events.append(
            NodeSandbox(
                node=node.number,
                state=state,
                provider=opened.record.provider,
                tier=opened.record.tier,
                sandbox=str(opened.record.uuid),
            )
        )

    def _attach(self, *, fork: bool = True) -> None:
        state = self._box.attach()
        assert self._box.link is not None
        base = base_of(self._run.node) if fork and self._box.is_first else None
        self._box.restored = self._box.restored or base
        if state.need is not None and not self._supply(self._box.link, state.need):
            return
        if base is not None and not _has_run(state):
            self._begin_fork(base)
        self._run.snapshots.take_over(state.snapshots, self._step_number)
        if fork and not self._has_run_here(state):
            self._run.snapshots.ask_again(state.snapshots, self._step_number - 1)
        for note in self._box.notes:
            self._log(note, "info")
        self._box.notes.clear()
        for subcall in state.outstanding:
            if self._running is not None and subcall.cell == self._running.name:
                said = self._take_subcall(subcall)
                if said is not None:
                    self.ready.append(said)
        for finished in state.finished:
            # On record at the runner, perhaps not with us: a frame that was sent before is sent again and dropped.
            if self._running is not None and finished.cell == self._running.name and finished.seq <= self._box.seen_seq:
                self._running = None
                self.ready.append(RunnerSaid(self._with_texts(finished)))

    def _has_run_here(self, state: State) -> bool:
        """Did the sandbox get a cell of this step?"""
        cells = [state.cell, *(finished.cell for finished in state.finished)]
        return any(cell and cell.startswith(f"{self._step_number}.") for cell in cells)

    def _begin_fork(self, base: Snapshot) -> None:
        """The first sandbox of a forked node starts where its source was. Repeated when a worker died at it: the runner
        carries each part out once."""
        try:
            restore(self._run, self._box, base)
        except SandboxError:
            self._box.terminate()  # nobody must find it half restored
            raise

    def seen(self, frame: RunnerFrame) -> bool:
        """Is this frame new to us?"""
        if isinstance(frame, State):
            return False
        new = frame.seq > self._box.seen_seq
        self._box.seen_seq = max(self._box.seen_seq, frame.seq)
        return new

    def _take_subcall(self, frame: SubCall) -> Input | None:
        if frame.call in self._asked:
            return None
        self._asked.add(frame.call)
        self._open_prompts += len(frame.prompts)
        return RunnerSaid(msgspec.structs.replace(frame, prompts=self._prompts(frame)))

    def _prompts(self, frame: SubCall) -> list[Payload]:
        """The prompts with their texts; what cannot be taken is told once for the call and not for each of them."""
        prompts: list[Payload] = []
        refused: SandboxError | None = None
        for prompt in frame.prompts:
            try:
                if refused is not None and prompt.file is not None:
                    raise refused  # no further file is read: ten thousand refusals take their time, too
                text = self._text(prompt, min(MAX_TEXT_BYTES, self._prompts_left_bytes))
            except SandboxError as error:
                text, refused = _not_taken(prompt, error), error
            self._prompts_left_bytes -= min(len(text), self._prompts_left_bytes)
            prompts.append(Payload(text=text))
        if refused is not None:
            self._log(f"prompts of {frame.call} could not be taken from the sandbox: {refused}")
        return prompts

    def _forget_calls(self) -> None:
        """A cell begins: nothing of it is asked yet, and what an earlier one left open is not waited for."""
        self._asked.clear()
        self._open_prompts = 0
        self._prompts_left_bytes = MAX_PROMPTS_BYTES

    def _take_late(self, frame: SubCall | Output | Finished) -> None:
        if not isinstance(frame, Output) or not frame.text:
            return
        step, _, rest = frame.cell.partition(".")
        cell, _, _ = rest.partition(".")
        if step.isdigit() and cell.isdigit():
            self.events.append(
                CellOutput(
                    node=self._run.node.number,
                    step=int(step),
                    cell=int(cell),
                    stream=frame.stream,
                    text=frame.text,
                    late=True,
                )
            )

    def _with_texts(self, frame: Finished) -> Finished:
        """The frame with its payloads fetched and every text made safe to store."""
        return msgspec.structs.replace(
            frame,
            final=self._inline(frame.final) if frame.final is not None else None,
            partial=self._inline(frame.partial) if frame.partial is not None else None,
            error=_safe(frame.error) if frame.error is not None else None,
            variables=[_safe(variable) for variable in frame.variables[:MOST_VARIABLES]],
        )

    def _inline(self, payload: Payload) -> Payload:
        try:
            return Payload(text=self._text(payload, MAX_TEXT_BYTES))
        except SandboxError as error:
            self._log(f"a text of {payload.size_bytes} bytes could not be taken from the sandbox: {error}")
            return Payload(text=_not_taken(payload, error))

    def _text(self, payload: Payload, max_bytes: int) -> str:
        """Raises `SandboxError`. What came in the line of its frame is short."""
        if payload.file is None:
            return scrub(payload.text or "")
        assert self._box.link is not None
        return scrub(self._box.link.read_payload(payload, max_bytes))

    def _give_up(self, running: _Running) -> Input:
        """The runner does not end the cell. End the sandbox instead; the next cell finds a rebuilt one."""
        self._running = None
        self._box.terminate()
        self.replace("the cell did not end when it was told to")
        return RunnerSaid(
            Finished(seq=0, cell=running.name, status="killed", duration_ms=running.command.timeout_s * 1000)
        )

    def _restart_clock(self) -> None:
        if self._running is not None and not self._running.interrupted and self._open_prompts <= 0:
            self._running.deadline = time.monotonic() + self._running.command.timeout_s + GRACE_S

    def _supply(self, link: RunnerLink, need: Need) -> bool:
        """Where contents are damaged, the sandbox is rebuilt without that snapshot, and the result is False.

        Raises `SnapshotCorrupt` when the node starts from it.
        """
        missing = supply(link, need, self._run.node, self._run.store)
        if not missing:
            return True
        reason = lacking(self._box.restored, missing)
        if not self._box.distrust():
            raise SnapshotCorrupt(reason)
        self._log(reason, "error")
        self._box.terminate()
        self.replace(reason)
        return False

    def _log(self, message: str, level: str = "warning") -> None:
        self.events.append(
            Log(level=level, message=scrub(message)[:500], node=self._run.node.number, step=self._step_number)
        )


def _has_run(state: State) -> bool:
    """Did the runner run a cell of the session, or save its state?"""
    return (
        bool(state.snapshots)
        or state.cell not in ("", BASE_CELL)
        or any(finished.cell != BASE_CELL for finished in state.finished)
    )


def _not_taken(payload: Payload, error: SandboxError) -> str:
    return f"[{payload.size_bytes} bytes that could not be taken from the sandbox: {error}]"


def _safe(part: PartT) -> PartT:
    """A part of a frame with all its texts scrubbed and bounded."""
    texts = {name: scrub(getattr(part, name))[:MOST_PART_CHARS] for name in part.__struct_fields__}
    return msgspec.structs.replace(part, **texts)
