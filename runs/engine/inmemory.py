"""Sessions in memory: whole trees with a callable for the model, for tests and benchmarks.

One thread works on one step at a time. A step that waits for children is put aside and goes on when the last of them has
ended, as with the real driver: by a machine made anew from the stored state, the journal and the sandbox.
With `paranoid=True` that happens after every single input, so that nothing of a run can hang on a machine's memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from runs.engine import answers
from runs.engine.inmemory_step import StepRun
from runs.engine.io import (
    AnswerSubcall,
    Ask,
    CallKey,
    CallRefused,
    ChatMessage,
    ChildEnded,
    EndNode,
    Input,
    LimitReached,
    ModelFailed,
    ModelReplied,
    RunCell,
)
from runs.engine.state import NodeState, NodeTask, StepState, node_state, to_plain
from runs.events.types import ErrorInfo, Event, NodeFinished, NodeStarted
from sandboxes.frames import Finished, Output, SubCall

STOPPED = EndNode("failed", error=ErrorInfo("Stopped", "the sub-call was stopped"))


class ModelError(Exception):
    """Raised by a model callable: the call failed for good."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model callable gets: the request, and whose it is."""

    node: int
    depth: int
    step: int
    ask: Ask


Model = Callable[[Asked], str]
Frame = SubCall | Output | Finished


class Repl(Protocol):
    """A node's sandbox. A cell that is running or done is not run again."""

    def execute(self, cell: str, command: RunCell) -> None:
        """Run `command.code` under the name `cell`."""

    def answer(self, command: AnswerSubcall) -> None: ...

    def interrupt(self, cell: str, reason: str) -> None: ...

    def frames(self, after: int) -> Sequence[Frame]:
        """Frames with a `seq` above `after`. Waits for one; empty when all of the code waits for answers."""

    def outstanding(self) -> Sequence[SubCall]:
        """Sub-calls of the running cell with prompts that have no answer."""

    def close(self) -> None: ...


ReplFactory = Callable[[NodeTask, str], Repl]
"""Makes a node's sandbox from its task and its context."""


@dataclass(slots=True)
class Journal:
    """One step's calls: what was answered, and which answers the step has taken."""

    replies: dict[CallKey, Input] = field(default_factory=dict)
    children: dict[CallKey, int] = field(default_factory=dict)
    taken: set[CallKey] = field(default_factory=set)


@dataclass(slots=True)
class MemoryNode:
    """What the database holds of a node and its current step."""

    number: int
    parent: int | None
    task: NodeTask
    context: str
    node_state: dict[str, object] = field(default_factory=lambda: to_plain(NodeState()))
    step_state: dict[str, object] = field(default_factory=lambda: to_plain(StepState()))
    step: int = 1
    conversation: list[ChatMessage] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    repl: Repl | None = None
    seen_seq: int = 0
    """Newest frame of the sandbox that was fed."""
    waiting: bool = False
    end: EndNode | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How the session ended. `conversations` are the nodes', by number."""

    status: str
    answer: str | None
    partial: bool
    error: ErrorInfo | None
    events: list[Event]
    conversations: list[list[ChatMessage]]
    model_calls: int


class Tree:
    """A session. `run` works until the root has ended."""

    def __init__(
        self, task: NodeTask, context: str, model: Model, make_repl: ReplFactory, *, paranoid: bool = False
    ) -> None:
        self.paranoid = paranoid
        self.events: list[Event] = []
        self._model = model
        self._make_repl = make_repl
        self._model_calls = 0
        self._nodes: list[MemoryNode] = []
        self._ready: deque[MemoryNode] = deque()
        self._add(task, context, None, CallKey(0, ""))

    def run(self) -> Result:
        root = self._nodes[0]
        try:
            while self._ready:
                node = self._ready.popleft()
                if node.end is None:
                    StepRun(self, node).drive()
        finally:
            self._close()
        if root.end is None:
            raise RuntimeError("nothing is left to do and the root has not ended: a wake-up was lost")
        end = root.end
        conversations = [node.conversation for node in self._nodes]
        return Result(end.status, end.answer, end.partial, end.error, self.events, conversations, self._model_calls)

    # For the step that is worked on ---------------------------------------------------------------------------------

    def repl_of(self, node: MemoryNode) -> Repl:
        if node.repl is None:
            node.repl = self._make_repl(node.task, node.context)
        return node.repl

    def ask(self, node: MemoryNode, ask: Ask) -> Input:
        """Ask the model, unless the limit of calls forbids it."""
        allowed = node.task.limits.max_lm_calls
        if allowed is not None and self._model_calls >= allowed:
            return CallRefused(ask.call, "max_lm_calls", self._model_calls, allowed)
        self._model_calls += 1
        try:
            return ModelReplied(ask.call, self._model(Asked(node.number, node.task.depth, node.step, ask)))
        except ModelError as error:
            return ModelFailed(ask.call, ErrorInfo("ModelError", str(error)))

    def open_children(self, parent: MemoryNode, prompts: dict[CallKey, str]) -> LimitReached | None:
        """Open a child for each prompt, or say which limit forbids it."""
        allowed = parent.task.limits.max_nodes
        wanted = len(self._nodes) + len(prompts)
        if wanted > allowed:
            return LimitReached("max_nodes", wanted, allowed)
        for key, prompt in prompts.items():
            child = self._add(child_task(parent.task, prompt), prompt, parent, key)
            parent.journal.children[key] = child.number
        return None

    def ending(self, key: CallKey, number: int) -> ChildEnded | None:
        """What node `number` answers to the call that opened it."""
        end = self._nodes[number].end
        if end is None:
            return None
        if end.answer is not None:
            return ChildEnded(key, end.answer, end.partial)
        return ChildEnded(key, error=end.error.message if end.error is not None else end.status)

    def next_step(self, node: MemoryNode) -> None:
        node.step += 1
        node.step_state = to_plain(StepState())
        node.journal = Journal()
        self._ready.append(node)

    def end_node(self, node: MemoryNode, end: EndNode) -> None:
        """End a node and stop what is below it; a limit of the whole tree ends the root too."""
        self._close_node(node, end, end.status)
        self._stop_below(node)
        if node.parent is None:
            return
        root = self._nodes[0]
        if end.limit is not None:
            partial = answers.partial(root.task, node_state(root.node_state))
            self.end_node(root, EndNode("limited", partial, partial is not None, end.error, end.limit))
        else:
            self._wake(self._nodes[node.parent])

    # Nodes ----------------------------------------------------------------------------------------------------------

    def _add(self, task: NodeTask, context: str, parent: MemoryNode | None, key: CallKey) -> MemoryNode:
        node = MemoryNode(len(self._nodes), parent.number if parent is not None else None, task, context)
        self._nodes.append(node)
        self._ready.append(node)
        started = NodeStarted(
            node=node.number,
            parent=node.parent,
            depth=task.depth,
            prompt=context if parent is not None else task.question,
            model=task.sub_model if parent is not None else task.root_model,
            step=parent.step if parent is not None else 0,
            cell=key.cell,
            subcall=key.subcall,
            index=key.index,
        )
        self.events.append(started)
        return node

    def _wake(self, parent: MemoryNode) -> None:
        open_children = (number for number in parent.journal.children.values() if self._nodes[number].end is None)
        if parent.waiting and next(open_children, None) is None:
            parent.waiting = False
            self._ready.append(parent)

    def _stop_below(self, node: MemoryNode) -> None:
        for child in self._nodes:
            if child.parent == node.number and child.end is None:
                self._close_node(child, STOPPED, "stopped")
                self._stop_below(child)

    def _close_node(self, node: MemoryNode, end: EndNode, status: str) -> None:
        node.end = end
        finished = NodeFinished(
            node=node.number, status=status, answer=end.answer, partial=end.partial, error=end.error
        )
        self.events.append(finished)
        if node.repl is not None:
            node.repl.close()
            node.repl = None

    def _close(self) -> None:
        for node in self._nodes:
            if node.repl is not None:
                node.repl.close()
                node.repl = None


def child_task(parent: NodeTask, prompt: str) -> NodeTask:
    """The task of a node that `rlm_query(prompt)` opens: its prompt is its context, and it asks no question besides."""
    return msgspec.structs.replace(
        parent,
        depth=parent.depth + 1,
        question="",
        context_kind="text",
        context_chars=len(prompt),
        context_name="",
        profile=parent.sub_profile,
    )
