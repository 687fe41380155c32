"""What a list of the engine's commands amounts to: the content of one commit, and what to do after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from runs.engine.io import (
    AnswerSubcall,
    AppendMessages,
    Ask,
    ChatMessage,
    Command,
    Emit,
    EndNode,
    InterruptCell,
    NextStep,
    OpenChildren,
    ReplaceConversation,
    RunCell,
    Suspend,
)
from runs.events.types import CellFinished, CellOutput, Event, StepFinished


@dataclass(slots=True)
class Plan:
    events: list[Event] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    appended: list[ChatMessage] = field(default_factory=list)
    replaced: tuple[ChatMessage, ...] | None = None
    children: list[OpenChildren] = field(default_factory=list)
    run: RunCell | None = None
    answers: list[AnswerSubcall] = field(default_factory=list)
    interrupts: list[InterruptCell] = field(default_factory=list)
    suspend: Suspend | None = None
    end: NextStep | EndNode | None = None

    @property
    def must_commit(self) -> bool:
        """Does it hold anything to record?"""
        return bool(
            self.events
            or self.appended
            or self.replaced is not None
            or self.children
            or self.suspend is not None
            or self.end is not None
        )

    @property
    def cell_over(self) -> bool:
        """Does it end the running cell?"""
        return any(isinstance(event, CellFinished) for event in self.events)

    def before_end(self) -> tuple[Plan, Plan]:
        """What comes before the end, and the end by itself."""
        last: list[Event] = [event for event in self.events if isinstance(event, StepFinished)]
        before = replace(self, events=[event for event in self.events if event not in last], end=None)
        return before, Plan(events=last, end=self.end)

    @property
    def output_bytes(self) -> int:
        return sum(
            len(event.text.encode())
            for event in self.events
            if isinstance(event, CellOutput) and isinstance(event.text, str)
        )

    @property
    def cell_errors(self) -> int:
        return sum(isinstance(event, CellFinished) and event.status != "ok" for event in self.events)


def plan_of(commands: Sequence[Command]) -> Plan:
    plan = Plan()
    for command in commands:
        match command:
            case Emit():
                plan.events.append(command.event)
            case Ask():
                plan.asks.append(command)
            case RunCell():
                plan.run = command
            case AnswerSubcall():
                plan.answers.append(command)
            case OpenChildren():
                plan.children.append(command)
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
