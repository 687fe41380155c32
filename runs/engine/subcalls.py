"""The sub-calls of the running cell: asked, answered prompt by prompt, closed when all are."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from runs.engine.io import AnswerSubcall, Ask, CallKey, ChatMessage, Command, Emit, OpenChildren
from runs.engine.state import CellRecord
from runs.events.types import SubcallClosed, SubcallOpened
from sandboxes.frames import SubCall


@dataclass(slots=True)
class OpenCall:
    """One `llm_query` or `rlm_query` (batched or not) that the code waits for."""

    name: str
    children: bool
    blocking: bool
    pending: set[int]
    failed: int = 0


@dataclass(slots=True)
class SubCalls:
    """Those of one cell. Which of them are on record as opened and closed stands in the cell's record."""

    node: int
    step: int
    cell: int
    record: CellRecord
    recursive: bool
    open: dict[str, OpenCall] = field(default_factory=dict)

    def take(self, frame: SubCall) -> list[Command]:
        """The code made a call: ask models, or open children where recursion is left."""
        if frame.call in self.open:
            return []
        children = frame.kind == "rlm" and self.recursive
        self.open[frame.call] = OpenCall(frame.call, children, frame.blocking, set(range(len(frame.prompts))))
        commands: list[Command] = []
        if frame.call not in self.record.opened:
            self.record.opened.append(frame.call)
            commands.append(Emit(self._opened_event(frame)))
        prompts = [prompt.text or "" for prompt in frame.prompts]
        if children:
            commands.append(OpenChildren(self.cell, frame.call, tuple(enumerate(prompts))))
        else:
            commands += [
                Ask(CallKey(self.cell, frame.call, index), "leaf", chat_messages(prompt), model=frame.model)
                for index, prompt in enumerate(prompts)
            ]
        if not prompts:
            commands += self._close(self.open[frame.call])
        return commands

    def answer(self, key: CallKey, text: str | None, error: str | None) -> list[Command]:
        """One prompt is answered. Nothing when nobody waits for it any more."""
        call = self.open.get(key.subcall)
        if call is None or key.cell != self.cell or key.index not in call.pending:
            return []
        call.pending.discard(key.index)
        call.failed += error is not None
        commands: list[Command] = [AnswerSubcall(key, text, error)]
        if not call.pending:
            commands += self._close(call)
        return commands

    def abandon(self) -> list[Command]:
        """The cell is over: what is still open on record is closed, since nothing waits for it any more.

        Such are calls of threads that were not joined, and of code that was interrupted; how many of their prompts
        failed is not told, because a machine made in between would not know it.
        """
        left = [name for name in self.record.opened if name not in self.record.closed]
        self.open.clear()
        self.record.closed += left
        return [Emit(self._closed_event(name, 0)) for name in left]

    def waits_for_children(self) -> tuple[CallKey, ...]:
        """The children that everything waits for, or none when a model's answer is still to come."""
        if any(not call.children for call in self.open.values()):
            return ()
        return tuple(
            CallKey(self.cell, call.name, index) for call in self.open.values() for index in sorted(call.pending)
        )

    @property
    def blocks_cell(self) -> bool:
        """Does the cell's main thread wait for one of them?"""
        return any(call.blocking for call in self.open.values())

    def _close(self, call: OpenCall) -> list[Command]:
        del self.open[call.name]
        if call.name in self.record.closed:
            return []
        self.record.closed.append(call.name)
        return [Emit(self._closed_event(call.name, call.failed))]

    def _closed_event(self, name: str, failed: int) -> SubcallClosed:
        return SubcallClosed(node=self.node, step=self.step, cell=self.cell, subcall=name, failed=failed)

    def _opened_event(self, frame: SubCall) -> SubcallOpened:
        return SubcallOpened(
            node=self.node,
            step=self.step,
            cell=self.cell,
            subcall=frame.call,
            kind=frame.kind,
            count=len(frame.prompts),
            batch=frame.batch,
        )


def chat_messages(prompt: str) -> tuple[ChatMessage, ...]:
    """A prompt of the code as messages: a text, or a JSON list of messages as `rlms` allows."""
    if prompt.startswith("[") and '"role"' in prompt:
        try:
            messages = msgspec.json.decode(prompt, type=tuple[ChatMessage, ...])
        except (msgspec.DecodeError, RecursionError):
            pass  # not a list of messages after all: then it is a text that looks like one
        else:
            if messages:
                return messages
    return (ChatMessage("user", prompt),)
