"""One step of a node as a state machine: inputs in, commands out, deterministic given the inputs.

A step is: compact when the conversation nears the window, open the turn, ask the model, run the cells of its reply, serve
their sub-calls, and end with the next step or with the node's answer. What must survive a crash is in `NodeState` and
`StepState`; a machine built from them goes on where the old one was and records nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from runs.engine import answers, cells, compaction, observation
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
from runs.engine.state import CellRecord, NodeState, NodeTask, StepState
from runs.engine.subcalls import SubCalls
from runs.events.types import (
    Compaction,
    ErrorInfo,
    LimitHit,
    LmFinished,
    LmStarted,
    Log,
    MessageInfo,
    StepFinished,
    StepStarted,
)
from sandboxes.frames import Finished, Output, SubCall

NODE_LIMITS = frozenset({"max_steps_per_node", "max_consecutive_errors"})
"""Limits that end one node; every other ends the whole session."""
FETCH = "FINAL_VAR({name!r}) if {name!r} in globals() else print(FINAL_VAR({name!r}))"
"""Gives a variable as the answer, or prints that there is none of that name."""


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
            case "turn" if self.step.given is not None:
                return self._turn_replied(self.step.given)
            case "turn":
                return [self._ask_turn(self._conversation)]
            case "final":
                return [self._ask_final(self._conversation)]
            case "cells":
                return [self._run_command()]
            case "done" if self.step.end is not None:
                return self._end(self.step.end)
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
                running = self.step.phase == "cells" and happened.cell == self.step.cell
                return [InterruptCell(happened.cell, "timeout")] if running else []
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
            return [Emit(log), *self._open_turn(self._conversation)]
        if failed.call == TURN:
            return self._end(EndNode("failed", error=failed.error))
        if failed.call == FINAL:
            return self._end(self._limited_end(failed.error))
        return self._answer(failed.call, None, failed.error.message)

    # The turn -------------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Command]:
        self.dirty = True
        probe = self._profile.probe(self.task) if self.number == 1 else None
        if probe is not None:
            started = StepStarted(node=self.node_number, step=self.number)
            return [Emit(started), *self._start_cells([CellRecord(code=probe, built_in=True)])]
        if compaction.is_due(self.task, self.node, self._conversation):
            self.step.phase = "compaction"
            return [self._ask_compaction()]
        return self._open_turn(self._conversation)

    def _open_turn(self, conversation: Sequence[ChatMessage]) -> list[Command]:
        """Append what the turn adds to the conversation and ask the model."""
        self.dirty = True
        self.node.turns += 1
        new: list[ChatMessage] = []
        if not conversation:
            new += self._profile.opening(self.task, self.node.probe)
            self.node.opening = len(new)
        turn = self._profile.turn(self.task, self.node, self.node.turns)
        if turn is not None:
            new.append(turn)
        prompt = (*conversation, *new)
        # Replies are on record as such.
        unseen = [message for message in prompt[self.node.shown :] if message.role != "assistant"]
        messages = [MessageInfo(message.role, message.content) for message in unseen]
        self.node.shown = len(prompt)
        self.step.phase = "turn"
        started = StepStarted(node=self.node_number, step=self.number, messages=messages)
        opened: list[Command] = [Emit(started), AppendMessages(tuple(new))]
        if self.step.given is not None:
            return [*opened, *self._take_given(self.step.given)]
        return [*opened, self._ask_turn(prompt)]

    def _take_given(self, reply: str) -> list[Command]:
        """A fork's reply stands for the model's: it is shown as such, and costs nothing."""
        call, step = self.step.given_call, self.number
        asked = LmStarted(node=self.node_number, step=step, call=call, kind="turn", model="given by the fork")
        replied = LmFinished(
            node=self.node_number, call=call, reply=reply, finish_reason="given", cost_micro_usd=0, cost_source="given"
        )
        return [Emit(asked), Emit(replied), *self._turn_replied(reply)]

    def _ask_turn(self, prompt: Sequence[ChatMessage]) -> Ask:
        hints = self._profile.ask(self.task, self.node, self.node.turns)
        most = hints.pop("max_output_tokens", None)
        return Ask(TURN, "turn", tuple(prompt), self._role(), max_output_tokens=most, extra=hints)

    def _role(self) -> Literal["root", "sub"]:
        # A child is a sub-call: its turns are the sub model's, as `llm_query` is.
        return "root" if self.task.depth == 0 else "sub"

    def _turn_replied(self, text: str) -> list[Command]:
        self.dirty = True
        self.step.reply = text
        parsed = self._profile.parse(self.task, self.node, text, self.node.turns)
        self.step.final, self.step.final_var = parsed.final, parsed.final_var
        return self._start_cells(_cells_of(parsed)) if parsed.cells or parsed.check else self._conclude()

    # Cells ----------------------------------------------------------------------------------------------------------

    def _start_cells(self, records: list[CellRecord]) -> list[Command]:
        self.dirty = True
        self.step.phase = "cells"
        self.step.cells = [*self.step.cells, *records]
        self.step.cell += 1
        return self._start_cell()

    def _start_cell(self) -> list[Command]:
        self._subcalls = None
        started = cells.started_event(self.node_number, self.number, self.step.cell, self._record)
        return [Emit(started), self._run_command()]

    def _run_command(self) -> RunCell:
        self._subcalls = SubCalls(self.node_number, self.number, self.step.cell, self._record, self.task.recursive)
        timeout_s = self.task.limits.cell_timeout_s
        return RunCell(self.step.cell, self._record.code, timeout_s, self._record.attempt)

    def _run_again(self) -> list[Command]:
        """In a new sandbox that stands where the running cell began."""
        if self.step.phase != "cells":
            return []
        self.dirty = True
        cells.begin_again(self._record)
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
        cells.take_output(self._record, frame, self.task.limits.prompt_output_chars)
        return [Emit(cells.output_event(self.node_number, self.number, self.step.cell, frame))]

    def _finished(self, frame: Finished) -> list[Command]:
        if self.step.phase != "cells":
            return []
        self.dirty = True
        commands = self._subcalls.abandon() if self._subcalls is not None else []
        self._subcalls = None
        cells.take_finished(self._record, self.node, frame)
        commands.append(Emit(cells.finished_event(self.node_number, self.number, self.step.cell, frame)))
        if self.step.cell < len(self.step.cells):
            self.step.cell += 1
            return commands + self._start_cell()
        return commands + self._conclude()

    # Ends -----------------------------------------------------------------------------------------------------------

    def _conclude(self) -> list[Command]:
        """The reply and its cells are done: an answer, a limit, or the next step."""
        if self.number == 1 and not self.step.reply and self.step.cells:
            return self._probed()
        answer = answers.given(self.step)
        if answer is not None:
            return self._end(EndNode("finished", answer=answer))
        name, self.step.final_var = self.step.final_var, None
        if name is not None and not answers.failed(self.step.cells):
            # The variable lives in the sandbox: a cell of ours fetches it, and says so when there is none.
            return self._start_cells([CellRecord(code=FETCH.format(name=name), built_in=True)])
        self.node.last_words = answers.last_words(self.step) or self.node.last_words
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
            partial=answers.partial(self.task, self.node),
        )
        prompt = (*self._conversation, *asked)
        return [Emit(hit), AppendMessages(tuple(asked)), self._ask_final(prompt)]

    def _ask_final(self, prompt: Sequence[ChatMessage]) -> Ask:
        return Ask(FINAL, "final", compaction.fitted(tuple(prompt), self.task.context_window_tokens), self._role())

    def _final_replied(self, text: str) -> list[Command]:
        parsed = self._profile.parse(self.task, self.node, text, self.node.turns)
        answer = parsed.final if parsed.final is not None else text.strip()
        end = EndNode("limited", answer=answer, partial=True) if answer else self._limited_end(None)
        return self._end(end)

    def _limited(self, limit: str, used: float, allowed: float) -> list[Command]:
        partial = answers.partial(self.task, self.node)
        hit = LimitHit(
            limit=limit, used=used, allowed=allowed, node=self.node_number, step=self.number, partial=partial
        )
        commands: list[Command] = [Emit(hit)]
        if self.step.phase == "cells" and not self._record.status:
            commands.append(InterruptCell(self.step.cell, "limit"))
        error = ErrorInfo("LimitReached", f"{limit}: {used:g} used, {allowed:g} allowed")
        end = self._limited_end(error, None if limit in NODE_LIMITS else limit)
        return commands + self._end(end)

    def _limited_end(self, error: ErrorInfo | None, limit: str | None = None) -> EndNode:
        partial = answers.partial(self.task, self.node)
        return EndNode("limited", answer=partial, partial=partial is not None, error=error, limit=limit)

    def _end(self, end: EndNode) -> list[Command]:
        self.dirty = True
        self.step.phase = "done"
        return [Emit(self._step_finished(end.status, end.error)), end]

    def _step_finished(self, status: str, error: ErrorInfo | None = None) -> StepFinished:
        return StepFinished(node=self.node_number, step=self.number, status=status, error=error)

    # Compaction -----------------------------------------------------------------------------------------------------

    def _ask_compaction(self) -> Ask:
        messages = compaction.request(self.task, self._conversation)
        return Ask(COMPACTION, "compaction", messages, self._role(), max_output_tokens=compaction.SUMMARY_TOKENS)

    def _compacted(self, summary: str) -> list[Command]:
        """Replace the conversation, then open the turn on the new one."""
        self.dirty = True
        old, new = self._conversation, compaction.compacted(self.node, self._conversation, summary)
        self.node.compactions += 1
        self.node.shown = len(new)
        event = Compaction(
            node=self.node_number,
            step=self.number,
            summary=summary,
            before_tokens=estimate_tokens(old),
            after_tokens=estimate_tokens(new),
        )
        return [ReplaceConversation(new), Emit(event), *self._open_turn(new)]


def _cells_of(parsed: Parsed) -> list[CellRecord]:
    written = [CellRecord(code=code) for code in parsed.cells]
    return [*written, CellRecord(code=parsed.check, built_in=True)] if parsed.check is not None else written
