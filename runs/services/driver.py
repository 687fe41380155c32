"""The driver: carries one step of a node from its claim to its end.

It feeds the engine what happened and carries out what the engine asks, always in this order: commit, then act. A
crash at any point therefore leaves a record from which another worker goes on: the journal says which calls were made,
the runner says which cells ran, and the fence keeps the crashed worker's late writes out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty
from uuid import uuid4

from django.db import connection

from runs.engine.io import CallKey, Command, EndNode, Input, LimitReached, NextStep, RunnerSaid, Suspend
from runs.engine.machine import StepMachine
from runs.engine.state import step_state, to_plain
from runs.events import record
from runs.events.types import StepWaiting
from runs.models import Node, SessionMeter, Step
from runs.services import rows
from runs.services.calls import StepCalls
from runs.services.cells import StepCells
from runs.services.children import Prompts, endings, open_children, store_prompts
from runs.services.claims import Claim, check_fence
from runs.services.desk import Answered, Wrote
from runs.services.dispatch import EXECUTE_STEP, send_on_commit
from runs.services.endings import end_node, stop_below, stop_nodes
from runs.services.journal import Journal
from runs.services.leases import FenceLost, leases
from runs.services.limits import exceeded
from runs.services.noderun import LeaseLost, NodeRun, Signal
from runs.services.plan import Plan, plan_of
from runs.services.snapshots.taking import PartStored
from runs.services.transaction import SessionTransaction, session_transaction
from sandboxes.errors import NotFound, SandboxError
from sandboxes.frames import LiveDropped, Output, SnapshotDone, SnapshotPart, SnapshotTaken

logger = logging.getLogger(__name__)

TICK_S = 0.25
"""How long the driver waits before it looks at clocks, limits and children."""
GATHER_S = 0.005
"""Output that arrives is held this long for more, so that a cell and its output make one commit."""
SETTLED_TICKS = 2
"""Quiet ticks after which a step whose threads wait for children lets go of its worker."""
NEWS_S = 0.2
"""How long what was stored of snapshots waits for another commit to be recorded with."""
LAST_SNAPSHOT_S = 30.0
"""How long a node's end waits for its last snapshot: the sandbox goes with the node."""
TURN_S = 2.0
"""A node goes on to its next step in the same task for this long; then others have their turn."""


@dataclass(slots=True)
class Outcome:
    """The step is out of this driver's hands; `successor` drives the node's next step when the node goes on here."""

    successor: StepDriver | None = None


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
        self._first: Plan | None = None
        """The first plan, when the commit that ended the step before has recorded it already."""
        self._limit_told = False
        self._quiet_ticks = 0
        self._news_since: float | None = None
        """Since when there are snapshots to record, or frames to acknowledge."""
        self._recorded_seq = run.node.runner_seq
        """Newest frame of the runner that the latest commit recorded."""

    def drive(self) -> Outcome:
        """Work until the step ends, waits for children, or is lost. Raises `FenceLost`."""
        token = self.claim.token
        leases.hold(token, lambda: self.run.signals.put(LeaseLost(token)))
        try:
            if self._first is None:
                self.cells.prefetch()
                outcome = self._carry_out(plan_of(self.machine.start()))
            else:
                self._committed(self._first)
                outcome = None
            if outcome is None and not self.claim.again:
                self.cells.connect()
            while outcome is None:
                self.calls.raise_refusal()
                commands = [*self.machine.feed(self._gather()), *self.forced]
                self.forced = []
                outcome = self._carry_out(plan_of(commands))
            return outcome
        finally:
            leases.release(self.claim.token)

    # Commands -------------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan) -> Outcome | None:
        """Commit, then act."""
        prompts = self._take_in(plan)
        if plan.end is not None:
            plan = self._snapshot(plan)
        outcome: Outcome | None = None
        if self.calls.choose() or plan.must_commit or self._has_progress():
            outcome = self._commit(plan, prompts)
        self._committed(plan if outcome is None else Plan())
        return outcome

    def _commit(self, plan: Plan, prompts: Prompts) -> Outcome | None:
        prepared = self._prepared(plan)
        with session_transaction(self.run.session) as changes:
            check_fence(self.claim)
            return self._write(changes, plan, prepared, prompts)

    def _take_in(self, plan: Plan) -> Prompts:
        """Before the commit: what can be done without the session's lock."""
        prompts: Prompts = {}
        for ask in plan.asks:
            self.calls.ask(ask)
        if plan.cell_over:
            self.calls.end_cell()
        else:
            for command in plan.children:
                prompts |= store_prompts(command, self.run.store)
        if plan.run is not None and plan.run.attempt > 1:
            self.calls.begin_again()
        self.waits_for.update(prompts)
        self.waits_for.difference_update(answer.call for answer in plan.answers)
        if plan.run is not None:
            self.cells.prepare()
        return prompts

    def _prepared(self, plan: Plan) -> list[record.Prepared]:
        late, self.cells.events = self.cells.events, []
        events = [*self.calls.outcome_events(), *late, *plan.events]
        return [record.prepare(event, self.run.store) for event in events]

    def _has_progress(self) -> bool:
        """Is there anything to record now? News of snapshots wait a moment for what else there will be."""
        snapshots = self.run.snapshots
        if self.cells.events or self.machine.dirty or snapshots.pressing:
            return True
        if not snapshots.has_news and snapshots.safe_seq(self.run.box.seen_seq) <= self.run.node.runner_seq:
            self._news_since = None
            return False
        self._news_since = self._news_since or time.monotonic()
        return time.monotonic() >= self._news_since + NEWS_S

    # Snapshots ------------------------------------------------------------------------------------------------------

    def _snapshot(self, plan: Plan) -> Plan:
        """Ask for the step's snapshot; returns what is left to commit of the plan that ends the step.

        The node's end waits until the snapshot is stored: its sandbox is gone afterwards.
        """
        snapshots, last = self.run.snapshots, isinstance(plan.end, EndNode)
        if self.cells.running:
            snapshots.leave_out(self.step.number, "the step was ended while its code was running")
            return plan
        try:
            if snapshots.wants(last=last):
                self.cells.connect()
                snapshots.take(self.step.number)
            return self._await_snapshots(plan) if last else plan
        except SandboxError as error:  # nobody needs the sandbox but the snapshot
            if not last:
                raise
            self._leave_out(f"the sandbox was lost before it was stored: {error}")
            return plan

    def _await_snapshots(self, plan: Plan) -> Plan:
        snapshots = self.run.snapshots
        deadline = time.monotonic() + LAST_SNAPSHOT_S
        while snapshots.unfinished:
            if time.monotonic() > deadline:
                self._leave_out(f"it was not stored within {LAST_SNAPSHOT_S:g} s of the node's end")
                break
            for signal in self._wait():
                if isinstance(signal, SandboxError):
                    raise signal
                self._take(signal)
            if snapshots.pressing:
                plan = self._record_before_end(plan)
        if self.run.box.link is None and self.run.node.sandbox_uuid is not None:
            self._leave_out("the sandbox was lost before it was stored")
        return plan

    def _leave_out(self, reason: str) -> None:
        """The node ends: what is not stored by now never will be."""
        snapshots = self.run.snapshots
        snapshots.lose()
        for step in snapshots.unaccounted(before_step=self.step.number + 1, last=True):
            snapshots.leave_out(step, reason)

    def _record_before_end(self, plan: Plan) -> Plan:
        """The runner waits until more is acknowledged, so more has to be on record: all but the end itself."""
        before, end = plan.before_end()
        assert isinstance(plan.end, EndNode)
        self.machine.step.end = plan.end
        self._commit(before, {})
        self._committed(before)
        return end

    def _committed(self, plan: Plan) -> None:
        """After the commit: send what was journalled, tell the runner."""
        self.calls.committed()
        self.machine.clean()
        for interrupt in plan.interrupts:
            self.cells.interrupt(interrupt)
        for answer in plan.answers:
            self.cells.answer(answer)
        if plan.run is not None:
            self.cells.start(plan.run)
        self.run.box.acknowledge(self._recorded_seq)

    # The commit -----------------------------------------------------------------------------------------------------

    def _write(
        self, changes: SessionTransaction, plan: Plan, prepared: list[record.Prepared], prompts: Prompts
    ) -> Outcome | None:
        """Everything that `plan` records. Runs inside the session's transaction, behind the fence."""
        changes.emit_prepared(prepared)
        self._recorded_seq = self.run.snapshots.safe_seq(self.run.box.seen_seq)
        self.run.snapshots.commit(changes)
        self.calls.commit(changes)
        if prompts:
            self._open_children(changes, prompts)
        if plan.cell_over and self.waits_for:
            self._stop_children(changes)
        self.run.save_messages(self.step.number, plan.replaced, plan.appended)
        changes.meter.output_bytes += plan.output_bytes
        changes.meter.errors += plan.cell_errors
        self._check_limits(changes.meter)
        if plan.end is not None:
            changes.meter.steps += 1
            self._save_node()
            if isinstance(plan.end, NextStep):
                return self._next_step(changes)
            self.machine.step.end = None
            rows.finish_step(self.step.pk, plan.end.status, to_plain(self.machine.step), to_plain(self.machine.node))
            end_node(changes, self.run.node, plan.end)
            return Outcome()
        self._save_progress()
        if plan.suspend is not None:
            return self._suspend(changes, plan.suspend.children)
        return None

    def _open_children(self, changes: SessionTransaction, prompts: Prompts) -> None:
        ended, refused = open_children(changes, self.step, self.run.config, prompts)
        self.ready.extend(ended)
        if refused is not None:
            self.ready.append(LimitReached(refused.limit, refused.used, refused.allowed))

    def _stop_children(self, changes: SessionTransaction) -> None:
        """Those of a cell that is over: it did not wait for them, and no answer reaches its threads any more."""
        running = list(self.step.children.filter(status=Node.Status.RUNNING))
        for child in running:
            stop_below(changes, child)
        stop_nodes(changes, running, Node.Status.STOPPED, None)
        self.waits_for.clear()

    def _check_limits(self, meter: SessionMeter) -> None:
        """Tell the engine, once, of a limit that is not about one call."""
        run = self.run
        over = exceeded(meter, run.config.limits, run.session.created_at, run.box.age_s, run.config.sandbox.gpus)
        if over is not None and not self._limit_told:
            self._limit_told = True
            self.ready.append(LimitReached(over.limit, over.used, over.allowed))

    def _save_progress(self) -> None:
        if self.machine.dirty:
            rows.save_step_state(self.step.pk, to_plain(self.machine.step))
        if self.machine.dirty or self.cells.unsaved_sandbox or self._recorded_seq > self.run.node.runner_seq:
            self._save_node()

    def _save_node(self) -> None:
        # The row gets the runner's new number now; the object follows when the runner is told (`NodeBox.acknowledge`).
        node = self.run.node
        node.state = to_plain(self.machine.node)
        rows.save_node(node, node.state, self._recorded_seq)
        self.cells.unsaved_sandbox = False

    def _suspend(self, changes: SessionTransaction, keys: Sequence[CallKey]) -> Outcome | None:
        """Let go of the worker, unless a child ended meanwhile: then there is something to do."""
        if self.ready:
            return None
        children = list(self.step.children.all())
        ended = [ending for ending in endings(children, self.run.store) if ending.call in keys]
        if ended:
            self.ready.extend(ended)
            return None
        changes.emit(StepWaiting(node=self.run.node.number, step=self.step.number, children=len(keys)))
        Step.objects.filter(pk=self.step.pk).update(status=Step.Status.WAITING, lease_token=None, lease_expires_at=None)
        return Outcome()

    def _next_step(self, changes: SessionTransaction) -> Outcome:
        """Create the next step: begun by this worker while its turn lasts, else for whoever comes first."""
        rows.finish_step(self.step.pk, "finished", to_plain(self.machine.step), to_plain(self.machine.node))
        if time.monotonic() >= self.turn_ends:
            step = Step.objects.create(session=self.run.session, node=self.run.node, number=self.step.number + 1)
            send_on_commit(EXECUTE_STEP, [[str(step.uuid)]])
            return Outcome()
        token = uuid4()
        step = rows.create_claimed_step(self.step, token)
        claim = Claim(step.pk, step.session_id, token, again=False)
        successor = StepDriver(self.run, claim, step, self.turn_ends)
        successor._begin(changes)
        return Outcome(successor)

    def _begin(self, changes: SessionTransaction) -> None:
        """Record the step's first plan in the commit that ends the step before: one commit less for every step."""
        plan = plan_of(self.machine.start())
        prompts = self._take_in(plan)
        self.calls.choose()
        self._write(changes, plan, self._prepared(plan), prompts)
        self._first = plan

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
            self.calls.wrote(signal.number, signal.text)
            return None
        if isinstance(signal, Answered):
            return self.calls.answered(signal)
        if isinstance(signal, PartStored):
            self.run.snapshots.settle()
            return None
        if isinstance(signal, SnapshotTaken | SnapshotPart | SnapshotDone | LiveDropped):
            if self.cells.seen(signal):
                self.run.snapshots.take_frame(signal, self.step.number)
            return None
        if isinstance(signal, LeaseLost):
            if signal.token != self.claim.token:
                return None
            raise FenceLost("the step was taken over or stopped")
        if isinstance(signal, SandboxError):
            if not isinstance(signal, NotFound):
                # The stream broke, or another host took it: the step is tried again, and then it is known which.
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
