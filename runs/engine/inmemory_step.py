"""One step of a node in memory: feeds the machine, carries out its commands, and recovers it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runs.engine.io import (
    AnswerSubcall,
    AppendMessages,
    Ask,
    CallKey,
    CallRefused,
    ChildEnded,
    Command,
    Emit,
    EndNode,
    Input,
    InterruptCell,
    ModelFailed,
    ModelReplied,
    NextStep,
    OpenChildren,
    ReplaceConversation,
    RunCell,
    RunnerSaid,
    Suspend,
)
from runs.engine.machine import StepMachine
from runs.engine.state import node_state, step_state, to_plain

if TYPE_CHECKING:
    from runs.engine.inmemory import MemoryNode, Tree


class StepRun:
    def __init__(self, tree: Tree, node: MemoryNode) -> None:
        self.tree = tree
        self.node = node
        self._pending: deque[Input] = deque()
        self._queued: set[CallKey] = set()
        self._again: list[Input] = []
        """Answers that a machine before this one has taken: a new one needs them too."""
        self._fetched_seq = node.seen_seq
        self._cell = ""
        self._over = False

    def drive(self) -> None:
        """Work until the step ends or waits for children."""
        machine = self._recovered()
        while not self._over:
            inputs = self._next_inputs()
            if inputs:
                self._carry_out(machine, machine.feed(inputs))
            elif machine.can_suspend():
                self._suspend()
            else:
                raise RuntimeError(f"node {self.node.number} step {self.node.step} waits for nothing")
            if self.tree.paranoid and not self._over:
                machine = self._recovered()

    def _recovered(self) -> StepMachine:
        """A machine from what is stored, told again what the one before it knew. It records nothing twice."""
        node = self.node
        state, step = node_state(node.node_state), step_state(node.step_state)
        machine = StepMachine(node.task, state, step, node.conversation, node.step, node.number)
        self._carry_out(machine, machine.start())
        if node.repl is not None and machine.step.phase == "cells":
            known = [RunnerSaid(call) for call in node.repl.outstanding() if call.seq <= node.seen_seq]
            self._feed_again(machine, known)
            self._feed_again(machine, self._again)
        self._again = []
        return machine

    def _feed_again(self, machine: StepMachine, inputs: Sequence[Input]) -> None:
        commands = machine.feed(inputs)
        self._carry_out(machine, [command for command in commands if not isinstance(command, Suspend)])

    def _next_inputs(self) -> list[Input]:
        """What is there, or else what the sandbox says next; in a paranoid run one at a time."""
        while not self._pending and self._cell:
            frames = self.tree.repl_of(self.node).frames(self._fetched_seq)
            if not frames:
                break
            self._fetched_seq = frames[-1].seq
            # A cell that is over may be reported again, when a machine before this one had it run again.
            self._pending.extend(RunnerSaid(frame) for frame in frames if frame.cell == self._cell)
        most = 1 if self.tree.paranoid else len(self._pending)
        inputs = [self._pending.popleft() for _ in range(min(most, len(self._pending)))]
        for taken in inputs:
            if isinstance(taken, RunnerSaid):
                self.node.seen_seq = taken.frame.seq
            elif isinstance(taken, ModelReplied | ModelFailed | CallRefused | ChildEnded):
                self.node.journal.taken.add(taken.call)
        return inputs

    # Commands -------------------------------------------------------------------------------------------------------

    def _carry_out(self, machine: StepMachine, commands: Sequence[Command]) -> None:
        """Commit, then act."""
        for command in commands:
            match command:
                case Emit():
                    self.tree.events.append(command.event)
                case AppendMessages():
                    self.node.conversation.extend(command.messages)
                case ReplaceConversation():
                    self.node.conversation[:] = command.messages
                case OpenChildren():
                    self._open_children(command)
        self.node.node_state, self.node.step_state = to_plain(machine.node), to_plain(machine.step)
        machine.clean()
        for command in commands:
            self._act(command)

    def _act(self, command: Command) -> None:
        repl = self.tree.repl_of
        match command:
            case Ask():
                self._ask(command)
            case RunCell():
                self._cell = f"{self.node.step}.{command.cell}.{command.attempt}"
                repl(self.node).execute(self._cell, command)
            case AnswerSubcall():
                repl(self.node).answer(command)
            case InterruptCell():
                repl(self.node).interrupt(self._cell, command.reason)
            case Suspend():
                self._suspend()
            case NextStep():
                self._over = True
                self.tree.next_step(self.node)
            case EndNode():
                self._over = True
                self.tree.end_node(self.node, command)

    def _ask(self, ask: Ask) -> None:
        replies = self.node.journal.replies
        if ask.call not in replies:
            replies[ask.call] = self.tree.ask(self.node, ask)
        self._deliver(ask.call, replies[ask.call])

    def _open_children(self, command: OpenChildren) -> None:
        journal = self.node.journal
        prompts = {CallKey(command.cell, command.subcall, index): prompt for index, prompt in command.prompts}
        refused = self.tree.open_children(
            self.node, {key: prompt for key, prompt in prompts.items() if key not in journal.children}
        )
        if refused is not None:
            self._pending.append(refused)
            return
        for key in prompts:
            ending = self.tree.ending(key, journal.children[key])
            if ending is not None:
                self._deliver(key, ending)

    def _deliver(self, key: CallKey, answer: Input) -> None:
        """Queue an answer: once for the step, and again for a machine that was made after it had been taken."""
        if key in self.node.journal.taken:
            self._again.append(answer)
        elif key not in self._queued:
            self._queued.add(key)
            self._pending.append(answer)

    def _suspend(self) -> None:
        """Put the step aside, unless there is something to do after all."""
        if not self._pending:
            self._over = True
            self.node.waiting = True
