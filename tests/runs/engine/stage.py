"""Parts for tests of the engine: tasks, one machine on a stage, and a REPL that runs a tiny language."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.engine.inmemory import Frame
from runs.engine.io import (
    TURN,
    AnswerSubcall,
    AppendMessages,
    Ask,
    CallKey,
    ChatMessage,
    Command,
    Emit,
    Input,
    ModelReplied,
    ReplaceConversation,
    RunCell,
    RunnerSaid,
)
from runs.engine.limits import Limits
from runs.engine.machine import StepMachine
from runs.engine.state import NodeState, NodeTask, StepState, node_state, step_state, to_plain
from runs.events.types import Event
from sandboxes.frames import CellError, Finished, Output, Payload, SubCall, Variable


def task(**changes: Any) -> NodeTask:
    limits = {name: changes.pop(name) for name in list(changes) if name in Limits.__struct_fields__}
    fields: dict[str, Any] = {"depth": 0, "question": "How many?", "context_kind": "text", "context_chars": 9}
    return NodeTask(limits=Limits(**limits), **(fields | changes))


def repl_block(*lines: str) -> str:
    return "```repl\n" + "\n".join(lines) + "\n```"


def finished(cell: str = "1.1.1", status: str = "ok", **fields: Any) -> RunnerSaid:
    for name in ("final", "partial"):
        if name in fields:
            fields[name] = Payload(text=fields[name])
    if status == "error":
        fields.setdefault("error", CellError("ValueError", "wrong", "Traceback: ValueError: wrong"))
    return RunnerSaid(Finished(seq=9, cell=cell, status=status, duration_ms=1.0, **fields))  # type: ignore[arg-type]


def printed(text: str, stream: str = "stdout") -> RunnerSaid:
    return RunnerSaid(Output(seq=5, cell="1.1.1", stream=stream, text=text))  # type: ignore[arg-type]


def called(call: str, *prompts: str, kind: str = "llm", **fields: Any) -> RunnerSaid:
    payloads = [Payload(text=prompt) for prompt in prompts]
    return RunnerSaid(SubCall(seq=3, cell="1.1.1", call=call, kind=kind, prompts=payloads, **fields))  # type: ignore[arg-type]


class Stage:
    """One step's machine, with what a driver would store. `events` are all that it emitted."""

    def __init__(
        self,
        node_task: NodeTask,
        node: NodeState | None = None,
        conversation: Sequence[ChatMessage] = (),
        number: int = 1,
    ) -> None:
        self.task = node_task
        self.number = number
        self.conversation = list(conversation)
        self.events: list[Event] = []
        self.commands: list[Command] = []
        self.machine = StepMachine(node_task, node or NodeState(), StepState(), self.conversation, number, 0)
        self.take(self.machine.start())

    def take(self, commands: list[Command]) -> list[Command]:
        """Do what a driver does with commands; returns those that are not about the record."""
        for command in commands:
            match command:
                case Emit():
                    self.events.append(command.event)
                case AppendMessages():
                    self.conversation.extend(command.messages)
                case ReplaceConversation():
                    self.conversation[:] = command.messages
        records = Emit | AppendMessages | ReplaceConversation
        self.commands = [command for command in commands if not isinstance(command, records)]
        return self.commands

    def feed(self, *inputs: Input) -> list[Command]:
        return self.take(self.machine.feed(inputs))

    def reply(self, text: str) -> list[Command]:
        return self.feed(ModelReplied(TURN, text))

    def restart(self) -> list[Command]:
        """Lose the machine; a new one from what was stored."""
        node = node_state(to_plain(self.machine.node))
        step = step_state(to_plain(self.machine.step))
        self.machine = StepMachine(self.task, node, step, self.conversation, self.number, 0)
        return self.take(self.machine.start())

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def keys(commands: Sequence[Command]) -> list[CallKey]:
    return [command.call for command in commands if isinstance(command, Ask | AnswerSubcall)]


# A REPL for trees -----------------------------------------------------------------------------------------------------


@dataclass
class _Cell:
    name: str
    lines: deque[str]
    calls: int = 0
    answers: dict[str, dict[int, str]] = field(default_factory=dict)
    open: dict[str, SubCall] = field(default_factory=dict)
    replies: list[str] = field(default_factory=list)


class TinyRepl:
    """Runs cells of one statement a line. Prompts are separated by `|`.

    `print TEXT`, `llm A|B` and `rlm A|B` (wait and print the replies), `thread rlm A` (do not wait), `join`, `draft TEXT`,
    `answer TEXT`, `answer replies` (all replies of the cell), `fail`.
    """

    def __init__(self, context: str) -> None:
        self.context = context
        self.executed: list[str] = []
        self.closed = False
        self._frames: list[Frame] = []
        self._cell: _Cell | None = None
        self._partial: str | None = None

    def execute(self, cell: str, command: RunCell) -> None:
        if cell not in self.executed:
            self.executed.append(cell)
            self._cell = _Cell(cell, deque(command.code.splitlines()))
            self._advance()

    def answer(self, command: AnswerSubcall) -> None:
        cell = self._cell
        if cell is None or command.call.subcall not in cell.open:
            return
        text = command.text if command.error is None else f"Error: {command.error}"
        given = cell.answers.setdefault(command.call.subcall, {})
        given.setdefault(command.call.index, text or "")
        call = cell.open[command.call.subcall]
        if len(given) == len(call.prompts):
            del cell.open[call.call]
            self._advance()

    def interrupt(self, cell: str, reason: str) -> None:
        if self._cell is not None and self._cell.name == cell:
            self._finish("interrupted")

    def frames(self, after: int) -> Sequence[Frame]:
        return [frame for frame in self._frames if frame.seq > after]

    def outstanding(self) -> Sequence[SubCall]:
        return list(self._cell.open.values()) if self._cell is not None else []

    def close(self) -> None:
        self.closed = True

    def _advance(self) -> None:
        cell = self._cell
        assert cell is not None
        while not any(call.blocking for call in cell.open.values()):
            for name in [name for name in cell.answers if name not in cell.open]:
                replies = cell.answers.pop(name)
                cell.replies += [replies[index] for index in sorted(replies)]
                self._say(Output, stream="stdout", text=f"{name}: {' '.join(cell.replies)}\n")
            if not cell.lines:
                return self._finish("ok")
            if cell.lines[0] == "join" and cell.open:
                return None
            if self._statement(cell, *cell.lines.popleft().partition(" ")[::2]):
                return None
        return None

    def _statement(self, cell: _Cell, verb: str, rest: str) -> bool:
        """Carry out one statement. True when the cell is over."""
        match verb:
            case "print":
                self._say(Output, stream="stdout", text=rest + "\n")
            case "llm" | "rlm":
                self._call(cell, verb, rest, blocking=True)
            case "thread":
                kind, _, prompts = rest.partition(" ")
                self._call(cell, kind, prompts, blocking=False)
            case "draft":
                self._partial = rest
            case "answer":
                self._finish("ok", final=" ".join(cell.replies) if rest == "replies" else rest)
                return True
            case "fail":
                self._finish("error")
                return True
        return False

    def _call(self, cell: _Cell, kind: str, prompts: str, *, blocking: bool) -> None:
        cell.calls += 1
        name = f"c{cell.calls}"
        payloads = [Payload(text=prompt) for prompt in prompts.split("|")]
        self._say(SubCall, call=name, kind=kind, prompts=payloads, batch=len(payloads) > 1, blocking=blocking)
        call = self._frames[-1]
        assert isinstance(call, SubCall)
        cell.open[name] = call

    def _finish(self, status: str, final: str | None = None) -> None:
        cell, self._cell = self._cell, None
        assert cell is not None
        error = CellError("ValueError", "wrong", "ValueError: wrong") if status == "error" else None
        self._say(
            Finished,
            cell=cell.name,
            status=status,
            duration_ms=1.0,
            error=error,
            final=Payload(text=final) if final is not None else None,
            partial=Payload(text=self._partial) if self._partial else None,
            variables=[Variable("x", "int")],
        )

    def _say(self, frame: type[Any], /, **fields: Any) -> None:
        if self._cell is not None:
            fields.setdefault("cell", self._cell.name)
        self._frames.append(frame(seq=len(self._frames) + 1, **fields))
