"""The driver: carries one step of a node from its claim to its end.

It feeds the engine what happened and carries out what the engine asks, always in this order: commit, then act. A
crash at any point therefore leaves a record from which another worker goes on: the journal says which calls were made,
the runner says which cells ran, and the fence keeps the crashed worker's late writes out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty
from uuid import uuid4

from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from runs.engine.io import (
    AnswerSubcall,
    AppendMessages,
    Ask,
    CallKey,
    ChatMessage,
    Command,
    Emit,
    EndNode,
    Input,
    InterruptCell,
    LimitReached,
    NextStep,
    OpenChildren,
    ReplaceConversation,
    RunCell,
    RunnerSaid,
    Suspend,
)
from runs.engine.machine import StepMachine
from runs.engine.state import step_state, to_plain
from runs.events import record
from runs.events.types import CellFinished, CellOutput, Event, StepWaiting
from runs.models import Node, NodeMessage, SessionMeter, Step
from runs.services.calls import StepCalls
from runs.services.cells import StepCells
from runs.services.children import Prompts, endings, open_children, store_prompts
from runs.services.claims import Claim, check_fence
from runs.services.desk import Answered, Wrote
from runs.services.dispatch import EXECUTE_STEP, send_on_commit
from runs.services.endings import end_node
from runs.services.journal import Journal
from runs.services.leases import LEASE_S, WORKER_NAME, FenceLost, leases
from runs.services.limits import exceeded
from runs.services.nodebox import lost
from runs.services.noderun import LeaseLost, NodeRun, Signal
from runs.services.transaction import SessionTransaction, session_transaction
from sandboxes.errors import SandboxError
from sandboxes.frames import Output

logger = logging.getLogger(__name__)

TICK_S = 0.5
"""How long the driver waits before it looks at clocks, limits and children."""
GATHER_S = 0.005
"""Output that arrives is held this long for more, so that a cell and its output make one commit."""
SETTLED_TICKS = 2
"""Quiet ticks after which a step whose threads wait for children lets go of its worker."""
TURN_S = 2.0
"""A node goes on to its next step in the same task for this long; then others have their turn."""


@dataclass(slots=True)
class Plan:
    """What a list of commands amounts to: the content of one commit, and what to do after it."""

    events: list[Event] = field(default_factory=list)
    appended: list[ChatMessage] = field(default_factory=list)
    replaced: tuple[ChatMessage, ...] | None = None
    children: Prompts = field(default_factory=dict)
    run: RunCell | None = None
    answers: list[AnswerSubcall] = field(default_factory=list)
    interrupts: list[InterruptCell] = field(default_factory=list)
    suspend: Suspend | None = None
    end: NextStep | EndNode | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The step is out of this driver's hands; `next_claim` is set when the node goes on here."""

    next_claim: Claim | None = None
    next_step: Step | None = None


class StepDriver:
    def __init__(self, run: NodeRun, claim: Claim, step: Step, turn_ends: float) -> None:
        self.run = run
        self.claim = claim
        self.step = step
        self.turn_ends = turn_ends
        self.machine = StepMachine(
            run.task, run.state, step_state(step.state), run.messages, step.number, run.node.number
        )
        self.calls = StepCalls(run, step.pk, step.number, Journal.of_step(step.pk) if claim.again else Journal())
        self.cells = StepCells(run, step.number)
        self.ready: list[Input] = []
        self.forced: list[Command] = []
        """Commands of the driver itself, carried out with the engine's next ones."""
        self.waits_for: set[CallKey] = set()
        self._limit_told = False
        self._quiet_ticks = 0
        self._output_bytes = 0
        self._cell_errors = 0

    def drive(self) -> Outcome:
        """Work until the step ends, waits for children, or is lost. Raises `FenceLost`."""
        leases.hold(self.claim.token, lambda: self.run.signals.put(LeaseLost()))
        try:
            self.cells.prefetch()
            commands = self.machine.start()
            while True:
                outcome = self._carry_out(commands)
                if outcome is not None:
                    return outcome
                commands = [*self.machine.feed(self._gather()), *self.forced]
                self.forced = []
        finally:
            leases.release(self.claim.token)
            self.run.state = self.machine.node

    # Commands -------------------------------------------------------------------------------------------------------

    def _carry_out(self, commands: Sequence[Command]) -> Outcome | None:
        plan = self._plan(commands)
        if plan.run is not None:
            self.cells.prepare()
        outcome = self._commit(plan) if self._has_changes(plan) else None
        if outcome is None:
            self._act(plan)
        self.run.box.acknowledge()
        return outcome

    def _plan(self, commands: Sequence[Command]) -> Plan:
        plan = Plan()
        for command in commands:
            match command:
                case Emit():
                    self._meter(command.event)
                    plan.events.append(command.event)
                case Ask():
                    self.calls.ask(command)
                case RunCell():
                    plan.run = command
                case AnswerSubcall():
                    self.waits_for.discard(command.call)
                    plan.answers.append(command)
                case OpenChildren():
                    prompts = store_prompts(command, self.run.store)
                    self.waits_for.update(prompts)
                    plan.children.update(prompts)
                case InterruptCell():
                    plan.interrupts.append(command)
                case AppendMessages():
                    plan.appended.extend(command.messages)
                case ReplaceConversation():
                    plan.replaced = command.messages
                case Suspend():
                    plan.suspend = command
                case NextStep() | EndNode():
                    plan.end = command
        return plan

    def _meter(self, event: Event) -> None:
        if isinstance(event, CellFinished) and event.status != "ok":
            self._cell_errors += 1
        if isinstance(event, CellOutput) and isinstance(event.text, str):
            self._output_bytes += len(event.text.encode())

    def _has_changes(self, plan: Plan) -> bool:
        return bool(
            self.calls.choose()
            or plan.events
            or plan.appended
            or plan.replaced is not None
            or plan.children
            or plan.suspend
            or plan.end
            or self.cells.events
            or self.machine.dirty
            or self.run.box.seen_seq > self.run.node.runner_seq
        )

    # The commit -----------------------------------------------------------------------------------------------------

    def _commit(self, plan: Plan) -> Outcome | None:
        late, self.cells.events = self.cells.events, []
        events = [*self.calls.outcome_events(), *late, *plan.events]
        prepared = [record.prepare(event, self.run.store) for event in events]
        outcome: Outcome | None = None
        with session_transaction(self.run.session) as changes:
            check_fence(self.claim)
            changes.emit_prepared(prepared)
            self.calls.commit(changes)
            if plan.children:
                self._open_children(changes, plan.children)
            self._save_messages(plan)
            self._count(changes)
            if plan.suspend is not None:
                outcome = self._suspend(changes, plan.suspend.children)
            elif isinstance(plan.end, NextStep):
                outcome = self._next_step(changes)
            elif isinstance(plan.end, EndNode):
                self._finish_step(plan.end.status)
                self._save_node()
                changes.meter.steps += 1
                end_node(changes, self.run.node, plan.end)
                outcome = Outcome()
            if plan.end is None:
                self._save_progress()
        self.calls.committed()
        self.machine.clean()
        return outcome

    def _open_children(self, changes: SessionTransaction, prompts: Prompts) -> None:
        ended, refused = open_children(changes, self.step, self.run.config, prompts)
        self.ready.extend(ended)
        if refused is not None:
            self.ready.append(LimitReached(refused.limit, refused.used, refused.allowed))

    def _save_messages(self, plan: Plan) -> None:
        run = self.run
        if plan.replaced is not None:
            run.epoch += 1
            run.messages[:] = []
        new = [*(plan.replaced or ()), *plan.appended]
        if new:
            NodeMessage.objects.bulk_create(
                NodeMessage(
                    node=run.node,
                    epoch=run.epoch,
                    position=len(run.messages) + n,
                    step_number=self.step.number,
                    role=message.role,
                    content=message.content,
                )
                for n, message in enumerate(new)
            )
            run.messages.extend(new)

    def _count(self, changes: SessionTransaction) -> None:
        changes.meter.output_bytes += self._output_bytes
        changes.meter.errors += self._cell_errors
        self._output_bytes = self._cell_errors = 0
        self._check_limits(changes.meter)

    def _check_limits(self, meter: SessionMeter) -> None:
        """Tell the engine, once, of a limit that is not about one call."""
        run = self.run
        over = exceeded(meter, run.config.limits, run.session.created_at, run.box.age_s)
        if over is not None and not self._limit_told:
            self._limit_told = True
            self.ready.append(LimitReached(over.limit, over.used, over.allowed))

    def _save_progress(self) -> None:
        node = self.run.node
        if self.machine.dirty:
            Step.objects.filter(pk=self.step.pk).update(state=to_plain(self.machine.step))
        if self.machine.dirty or self.cells.unsaved_sandbox or self.run.box.seen_seq > node.runner_seq:
            self._save_node()

    def _save_node(self) -> None:
        node = self.run.node
        node.state = to_plain(self.machine.node)
        # The row gets the new number now; the object follows when the runner is told (`NodeBox.acknowledge`).
        Node.objects.filter(pk=node.pk).update(
            state=node.state,
            sandbox_ref=node.sandbox_ref,
            sandbox_uuid=node.sandbox_uuid,
            sandbox_generation=node.sandbox_generation,
            runner_seq=self.run.box.seen_seq,
        )
        self.cells.unsaved_sandbox = False

    def _suspend(self, changes: SessionTransaction, keys: Sequence[CallKey]) -> Outcome | None:
        """Let go of the worker, unless a child ended meanwhile: then there is something to do."""
        children = list(self.step.children.all())
        ended = [ending for ending in endings(children, self.run.store) if ending.call in keys]
        if ended:
            self.ready.extend(ended)
            return None
        self._save_progress()
        changes.emit(StepWaiting(node=self.run.node.number, step=self.step.number, children=len(keys)))
        Step.objects.filter(pk=self.step.pk).update(status=Step.Status.WAITING, lease_token=None, lease_expires_at=None)
        return Outcome()

    def _finish_step(self, status: str) -> None:
        Step.objects.filter(pk=self.step.pk).update(
            status=status,
            state=to_plain(self.machine.step),
            lease_token=None,
            lease_expires_at=None,
            finished_at=timezone.now(),
        )

    def _next_step(self, changes: SessionTransaction) -> Outcome:
        """Create the next step: claimed by this worker while its turn lasts, else for whoever comes first."""
        self._finish_step("finished")
        self._save_node()
        changes.meter.steps += 1
        stays = time.monotonic() < self.turn_ends
        token = uuid4() if stays else None
        step = Step.objects.create(
            session=self.run.session,
            node=self.run.node,
            number=self.step.number + 1,
            status=Step.Status.RUNNING if stays else Step.Status.READY,
            attempt=1 if stays else 0,
            lease_token=token,
            lease_expires_at=Now() + timedelta(seconds=LEASE_S) if stays else None,
            worker=WORKER_NAME if stays else "",
            started_at=timezone.now() if stays else None,
        )
        if token is None:
            send_on_commit(EXECUTE_STEP, [[str(step.uuid)]])
            return Outcome()
        return Outcome(Claim(step.pk, step.session_id, token, again=False), step)

    # After the commit -----------------------------------------------------------------------------------------------

    def _act(self, plan: Plan) -> None:
        for interrupt in plan.interrupts:
            self.cells.interrupt(interrupt)
        for answer in plan.answers:
            self.cells.answer(answer)
        if plan.run is not None:
            self.cells.start(plan.run)

    # Inputs ---------------------------------------------------------------------------------------------------------

    def _gather(self) -> list[Input]:
        """Inputs that are there, or the next that come. Output alone is held for a moment."""
        inputs = [*self.ready, *self.calls.ready, *self.cells.ready]
        self.ready, self.calls.ready, self.cells.ready = [], [], []
        if inputs:
            return inputs
        signals = self._wait()
        if not signals:
            return self._tick()
        self._quiet_ticks = 0
        inputs = [found for signal in signals if (found := self._take(signal)) is not None]
        if inputs and all(isinstance(found, RunnerSaid) and isinstance(found.frame, Output) for found in inputs):
            inputs += [found for signal in self._wait(GATHER_S) if (found := self._take(signal)) is not None]
        return inputs

    def _wait(self, timeout_s: float = TICK_S) -> list[Signal]:
        signals = self.run.signals
        try:
            found = [signals.get(timeout=min(timeout_s, 0.02))]
        except Empty:
            if timeout_s <= 0.02:
                return []
            _let_go_of_connection()
            try:
                found = [signals.get(timeout=timeout_s - 0.02)]
            except Empty:
                return []
        while True:
            try:
                found.append(signals.get_nowait())
            except Empty:
                return found

    def _take(self, signal: Signal) -> Input | None:
        if isinstance(signal, Wrote):
            self.calls.wrote(signal.key, signal.text)
            return None
        if isinstance(signal, Answered):
            return self.calls.answered(signal)
        if isinstance(signal, LeaseLost):
            raise FenceLost("the step was taken over or stopped")
        if isinstance(signal, SandboxError):
            if not lost(signal):
                raise signal
            self.cells.replace(str(signal))
            return None
        return self.cells.take(signal)

    def _tick(self) -> list[Input]:
        """Nothing came: look at the clocks, the limits and the children."""
        overdue = self.cells.overdue()
        if overdue is not None:
            return [overdue]
        self._check_limits(SessionMeter.objects.get(pk=self.run.session.pk))
        if not self.waits_for:
            return []
        ended: list[Input] = [
            ending for ending in endings(self.step.children.all(), self.run.store) if ending.call in self.waits_for
        ]
        if ended:
            return ended
        self._quiet_ticks += 1
        keys = self.machine.can_suspend()
        if keys and not self.calls.busy and self._quiet_ticks >= SETTLED_TICKS:
            self.forced.append(Suspend(tuple(keys)))
        return []


def _let_go_of_connection() -> None:
    """Before a long wait: give the connection back to the pool; without a pool it is kept."""
    if connection.settings_dict["OPTIONS"].get("pool") and not connection.in_atomic_block:
        connection.close()
