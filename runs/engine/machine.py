"""One step of a node as a state machine: inputs in, commands out, deterministic given the inputs.

A step is: compact when the conversation nears the window, open the turn, ask the model, run the cells of its reply, serve
their sub-calls, and end with the next step or with the node's answer. What must survive a crash is in `NodeState` and
`StepState`; a machine built from them goes on where the old one was and records nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from runs.engine import compaction, observation
from runs.engine.estimate import estimate_tokens
from runs.engine.io import (
    COMPACTION,
    FINAL,
    TURN,
    AppendMessages,
    Ask,
    CallKey,
    CallRefused,
    CellOverdue,
    ChatMessage,
    ChildEnded,
    Command,
    Emit,
    EndNode,
    Input,
    InterruptCell,
    LimitReached,
    ModelFailed,
    ModelReplied,
    NextStep,
    ReplaceConversation,
    RunCell,
    RunnerSaid,
    SandboxReplaced,
    Suspend,
)
from runs.engine.profile import Parsed, profile_named
from runs.engine.prompts import FINAL_REQUEST
from runs.engine.state import CellRecord, NodeState, NodeTask, StepState, Stream
from runs.engine.subcalls import SubCalls
from runs.events.types import (
    CellFinished,
    CellOutput,
    CellStarted,
    Compaction,
    ErrorInfo,
    LimitHit,
    Log,
    MessageInfo,
    StepFinished,
    StepStarted,
    VariableInfo,
)
from sandboxes.frames import Finished, Output, SubCall

NODE_LIMITS = frozenset({"max_steps_per_node", "max_consecutive_errors"})
"""Limits that end one node; every other ends the whole session."""


class StepMachine:
    """`conversation` is read only: the driver appends to it what `AppendMessages` says, after the commit."""

    def __init__(
        self,
        task: NodeTask,
        node: NodeState,
        step: StepState,
        conversation: Sequence[ChatMessage],
        number: int,
        node_number: int,
    ) -> None:
        self.task = task
        self.node = node
        self.step = step
        self.number = number
        self.node_number = node_number
        self.dirty = False
        self._conversation = conversation
        self._profile = profile_named(task.profile)
        self._subcalls: SubCalls | None = None

    def clean(self) -> None:
        """The state is stored."""
        self.dirty = False

    def start(self) -> list[Command]:
        """Begin the step, or go on with one that was begun before."""
        match self.step.phase:
            case "begin":
                return self._begin()
            case "compaction":
                return [self._ask_compaction()]
            case "turn":
                return [self._ask_turn()]
            case "final":
                return [self._ask_final()]
            case "cells":
                return [self._run_command()]
        return []

    def feed(self, inputs: Sequence[Input]) -> list[Command]:
        """What to do about `inputs`, in their order."""
        commands: list[Command] = []
        for happened in inputs:
            if self.step.phase == "done":
                break
            commands += self._take(happened)
        if self.step.phase == "cells" and self._subcalls is not None and self._subcalls.blocks_cell:
            children = self._subcalls.waits_for_children()
            if children:
                commands.append(Suspend(children))
        return commands

    def can_suspend(self) -> tuple[CallKey, ...]:
        """The children that everything waits for, when other threads of the cell wait and the main one may not."""
        return self._subcalls.waits_for_children() if self._subcalls is not None else ()

    # Inputs ---------------------------------------------------------------------------------------------------------

    def _take(self, happened: Input) -> list[Command]:
        match happened:
            case ModelReplied():
                return self._replied(happened)
            case ModelFailed():
                return self._model_failed(happened)
            case ChildEnded():
                return self._answer(happened.call, happened.answer, happened.error)
            case RunnerSaid(frame=SubCall() as frame):
                return self._take_subcall(frame)
            case RunnerSaid(frame=Output() as frame):
                return self._output(frame)
            case RunnerSaid(frame=Finished() as frame):
                return self._finished(frame)
            case SandboxReplaced():
                return self._run_again()
            case CellOverdue():
                return [InterruptCell(happened.cell, "timeout")] if happened.cell == self.step.cell else []
            case CallRefused() | LimitReached():
                return self._limited(happened.limit, happened.used, happened.allowed)
        return []

    def _replied(self, reply: ModelReplied) -> list[Command]:
        if reply.call == TURN:
            return self._turn_replied(reply.text) if self.step.phase == "turn" else []
        if reply.call == COMPACTION:
            return self._compacted(reply.text) if self.step.phase == "compaction" else []
        if reply.call == FINAL:
            return self._final_replied(reply.text) if self.step.phase == "final" else []
        return self._answer(reply.call, reply.text, None)

    def _model_failed(self, failed: ModelFailed) -> list[Command]:
        if failed.call == COMPACTION:
            message = f"the conversation could not be compacted: {failed.error.message}"
            log = Log(level="warning", message=message, node=self.node_number, step=self.number)
            return [Emit(log), *self._open_turn()]
        if failed.call in (TURN, FINAL):
            return self._end(EndNode("failed", error=failed.error), "failed", failed.error)
        return self._answer(failed.call, None, failed.error.message)

    # The turn -------------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Command]:
        self.dirty = True
        probe = self._profile.probe(self.task) if self.number == 1 else None
        if probe is not None:
            started = StepStarted(node=self.node_number, step=self.number)
            return [Emit(started), *self._start_cells([CellRecord(code=probe, built_in=True)])]
        if compaction.is_due(self.task, self._conversation):
            self.step.phase = "compaction"
            return [self._ask_compaction()]
        return self._open_turn()

    def _open_turn(self) -> list[Command]:
        """Append what the turn adds to the conversation and ask the model."""
        self.dirty = True
        self.node.turns += 1
        new: list[ChatMessage] = []
        if not self._conversation:
            new += self._profile.opening(self.task, self.node.probe)
        turn = self._profile.turn(self.task, self.node, self.node.turns)
        if turn is not None:
            new.append(turn)
        unseen = [message for message in self._conversation[self.node.shown :] if message.role != "assistant"]
        messages = [MessageInfo(message.role, message.content) for message in (*unseen, *new)]
        self.node.shown = len(self._conversation) + len(new)
        self.step.phase = "turn"
        started = StepStarted(node=self.node_number, step=self.number, messages=messages)
        return [Emit(started), AppendMessages(tuple(new)), self._ask_turn(new)]

    def _ask_turn(self, new: Sequence[ChatMessage] = ()) -> Ask:
        hints = self._profile.ask(self.task, self.node, self.node.turns)
        most = hints.pop("max_output_tokens", None)
        messages = (*self._conversation, *new)
        return Ask(TURN, "turn", messages, self._role(), max_output_tokens=most, extra=hints)

    def _role(self) -> Literal["root", "sub"]:
        # A child is a sub-call: its turns are the sub model's, as `llm_query` is.
        return "root" if self.task.depth == 0 else "sub"

    def _turn_replied(self, text: str) -> list[Command]:
        self.dirty = True
        self.step.reply = text
        parsed = self._profile.parse(self.task, self.node, text, self.node.turns)
        self.step.final = parsed.final
        cells = self._cells_of(parsed)
        return self._start_cells(cells) if cells else self._conclude()

    def _cells_of(self, parsed: Parsed) -> list[CellRecord]:
        cells = [CellRecord(code=code) for code in parsed.cells]
        if parsed.check is not None:
            cells.append(CellRecord(code=parsed.check, built_in=True))
        elif parsed.final_var is not None:
            # The variable lives in the sandbox: a cell of ours fetches it, and says so when there is none.
            cells.append(CellRecord(code=f"FINAL_VAR({parsed.final_var!r})", built_in=True))
        return cells

    # Cells ----------------------------------------------------------------------------------------------------------

    def _start_cells(self, cells: list[CellRecord]) -> list[Command]:
        self.dirty = True
        self.step.phase = "cells"
        self.step.cells = cells
        self.step.cell = 1
        return self._start_cell()

    def _start_cell(self) -> list[Command]:
        record = self._record
        self._subcalls = None
        started = CellStarted(
            node=self.node_number,
            step=self.number,
            cell=self.step.cell,
            code=record.code,
            attempt=record.attempt,
            built_in=record.built_in,
        )
        return [Emit(started), self._run_command()]

    def _run_command(self) -> RunCell:
        self._subcalls = SubCalls(self.node_number, self.number, self.step.cell, self._record, self.task.recursive)
        timeout_s = self.task.limits.cell_timeout_s
        return RunCell(self.step.cell, self._record.code, timeout_s, self._record.attempt)

    def _run_again(self) -> list[Command]:
        """The cell's sandbox was lost: what it printed is void, what it asked is on record."""
        if self.step.phase != "cells":
            return []
        self.dirty = True
        record = self._record
        record.attempt += 1
        record.stdout, record.stderr = Stream(), Stream()
        return self._start_cell()

    @property
    def _record(self) -> CellRecord:
        return self.step.cells[self.step.cell - 1]

    def _take_subcall(self, frame: SubCall) -> list[Command]:
        if self._subcalls is None:
            return []
        self.dirty = True
        return self._subcalls.take(frame)

    def _answer(self, key: CallKey, text: str | None, error: str | None) -> list[Command]:
        if self._subcalls is None:
            return []
        commands = self._subcalls.answer(key, text, error)
        self.dirty = self.dirty or any(isinstance(command, Emit) for command in commands)
        return commands

    def _output(self, frame: Output) -> list[Command]:
        if self.step.phase != "cells" or not frame.text:
            return []
        self.dirty = True
        stream = self._record.stdout if frame.stream == "stdout" else self._record.stderr
        observation.append(stream, frame.text, self.task.limits.prompt_output_chars)
        output = CellOutput(
            node=self.node_number,
            step=self.number,
            cell=self.step.cell,
            stream=frame.stream,
            text=frame.text,
            late=frame.late,
        )
        return [Emit(output)]

    def _finished(self, frame: Finished) -> list[Command]:
        if self.step.phase != "cells":
            return []
        self.dirty = True
        self._subcalls = None
        record = self._record
        record.status = frame.status
        record.variables = [variable.name for variable in frame.variables]
        if frame.error is not None:
            record.error_type, record.error_message = frame.error.type, frame.error.message
            record.traceback = frame.error.traceback
        if frame.final is not None:
            record.final = frame.final.text or ""
        if frame.partial is not None:
            self.node.partial = frame.partial.text or ""
        if not record.built_in:
            self.node.cells_run += 1
            self.node.consecutive_errors = 0 if frame.status == "ok" else self.node.consecutive_errors + 1
        commands: list[Command] = [Emit(self._finished_event(frame))]
        if self.step.cell < len(self.step.cells):
            self.step.cell += 1
            return commands + self._start_cell()
        return commands + self._conclude()

    def _finished_event(self, frame: Finished) -> CellFinished:
        error = frame.error
        return CellFinished(
            node=self.node_number,
            step=self.number,
            cell=self.step.cell,
            status=frame.status,
            duration_ms=int(frame.duration_ms),
            error=ErrorInfo(error.type, error.message, detail=error.traceback) if error is not None else None,
            variables=[VariableInfo(v.name, v.type, v.size, v.preview) for v in frame.variables],
            output_bytes=frame.output_bytes,
            dropped_bytes=frame.dropped_bytes,
            answered=frame.final is not None,
        )

    # Ends -----------------------------------------------------------------------------------------------------------

    def _conclude(self) -> list[Command]:
        """The reply and its cells are done: an answer, a limit, or the next step."""
        if self.number == 1 and not self.step.reply and self.step.cells:
            return self._probed()
        answer = self._answer_given()
        if answer is not None:
            return self._end(EndNode("finished", answer=answer), "finished")
        if self.node.consecutive_errors >= self.task.limits.max_consecutive_errors:
            used, allowed = self.node.consecutive_errors, self.task.limits.max_consecutive_errors
            return self._limited("max_consecutive_errors", used, allowed)
        observed = self._profile.observe(self.task, self.node, self.step.reply, self.step.cells)
        if self.node.turns >= self.task.limits.max_steps_per_node:
            return self._out_of_turns(observed)
        self.dirty = True
        self.step.phase = "done"
        return [AppendMessages(tuple(observed)), Emit(self._step_finished("finished")), NextStep()]

    def _probed(self) -> list[Command]:
        self.node.probe = observation.shown(self.step.cells[0].stdout)
        self.dirty = True
        self.step.phase = "done"
        return [Emit(self._step_finished("finished")), NextStep()]

    def _answer_given(self) -> str | None:
        """The last answer wins: one set by code over one in the text."""
        finals = [cell.final for cell in self.step.cells if cell.final is not None]
        return finals[-1] if finals else self.step.final

    def _out_of_turns(self, observed: list[ChatMessage]) -> list[Command]:
        """One more call, for an answer from what was found."""
        self.dirty = True
        self.step.phase = "final"
        asked = [*observed, ChatMessage("user", FINAL_REQUEST)]
        hit = LimitHit(
            limit="max_steps_per_node",
            used=self.node.turns,
            allowed=self.task.limits.max_steps_per_node,
            node=self.node_number,
            step=self.number,
            partial=self.node.partial or None,
        )
        return [Emit(hit), AppendMessages(tuple(asked)), self._ask_final(asked)]

    def _ask_final(self, new: Sequence[ChatMessage] = ()) -> Ask:
        return Ask(FINAL, "final", (*self._conversation, *new), self._role())

    def _final_replied(self, text: str) -> list[Command]:
        parsed = self._profile.parse(self.task, self.node, text, self.node.turns)
        answer = parsed.final if parsed.final is not None else text
        return self._end(EndNode("limited", answer=answer, partial=True), "limited")

    def _limited(self, limit: str, used: float, allowed: float) -> list[Command]:
        partial = self.node.partial or None
        hit = LimitHit(
            limit=limit, used=used, allowed=allowed, node=self.node_number, step=self.number, partial=partial
        )
        commands: list[Command] = [Emit(hit)]
        if self.step.phase == "cells":
            commands.append(InterruptCell(self.step.cell, "limit"))
        error = ErrorInfo("LimitReached", f"{limit}: {used:g} used, {allowed:g} allowed")
        whole_tree = None if limit in NODE_LIMITS else limit
        end = EndNode("limited", answer=partial, partial=partial is not None, error=error, limit=whole_tree)
        return commands + self._end(end, "limited", error)

    def _end(self, end: EndNode, status: str, error: ErrorInfo | None = None) -> list[Command]:
        self.dirty = True
        self.step.phase = "done"
        return [Emit(self._step_finished(status, error)), end]

    def _step_finished(self, status: str, error: ErrorInfo | None = None) -> StepFinished:
        return StepFinished(node=self.node_number, step=self.number, status=status, error=error)

    # Compaction -----------------------------------------------------------------------------------------------------

    def _ask_compaction(self) -> Ask:
        messages = compaction.request(self._conversation)
        return Ask(COMPACTION, "compaction", messages, self._role(), max_output_tokens=compaction.SUMMARY_TOKENS)

    def _compacted(self, summary: str) -> list[Command]:
        """Replace the conversation, then open the turn on the new one."""
        self.dirty = True
        old, new = self._conversation, compaction.compacted(self._conversation, summary)
        self._conversation = new
        self.node.compactions += 1
        self.node.shown = len(new)
        event = Compaction(
            node=self.node_number,
            step=self.number,
            summary=summary,
            before_tokens=estimate_tokens(old),
            after_tokens=estimate_tokens(new),
        )
        return [ReplaceConversation(new), Emit(event), *self._open_turn()]
