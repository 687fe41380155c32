"""The LM calls of one step: waiting to be sent, out, and answered; journalled and metered on both sides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from rlmweb.quotas.errors import QuotaExceeded
from runs.engine.io import Ask, CallKey, CallRefused, Input, ModelFailed, ModelReplied
from runs.events.types import INLINE_TEXT_BYTES, ErrorInfo, Event, LmFailed, LmFinished, LmOutput, LmStarted
from runs.lm.errors import LmError
from runs.models import LmCall
from runs.services.config import ModelConfig
from runs.services.desk import Answered, ModelDesk
from runs.services.journal import (
    Journal,
    Settlement,
    insert_calls,
    request_sha256,
    reservation_of,
    settle_calls,
)
from runs.services.limits import Reservation, release_call, reserve_call
from runs.services.noderun import NodeRun
from runs.services.quota_calls import admit, settle
from runs.services.transaction import SessionTransaction
from runs.text import scrub

STREAMED_KINDS = ("turn", "final")
DELTA_EVERY_S = 0.2
QUOTA_RETRY_S = 1.0
"""While other calls of the step are out, those without room in a quota are tried again this often."""
DELTA_CHARS = 800
"""Longest piece of a streaming reply in one event."""
LEFT_OUT = ErrorInfo("Abandoned", "the call was out when its cell ended; what it cost is not known")


@dataclass(slots=True)
class _Wanted:
    """A call to be sent. `row` is set when a dead worker had sent it already."""

    ask: Ask
    model: ModelConfig
    reserved: Reservation
    request: str
    row: LmCall | None = None


@dataclass(slots=True)
class _Out:
    row: LmCall
    wanted: _Wanted
    written: list[str] = field(default_factory=list)


class StepCalls:
    """Calls of one step. Inputs that need no waiting (journal, refusals) go to `ready`."""

    def __init__(self, run: NodeRun, step_pk: int, step_number: int, journal: Journal) -> None:
        self.ready: list[Input] = []
        self._run = run
        self._desk: ModelDesk = run.desk
        self._step_pk = step_pk
        self._step_number = step_number
        self._journal = journal
        self._backlog: deque[_Wanted] = deque()
        self._chosen: list[_Wanted] = []
        self._out: dict[int, _Out] = {}
        self._given_up: list[_Out] = []
        self._journal_is_stale = False
        self._answered: list[tuple[_Out, Answered]] = []
        self._sending: list[_Out] = []
        self._deltas_at = 0.0
        self._refusal: QuotaExceeded | None = None
        self._refused_at = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._out or self._backlog or self._chosen)

    def ask(self, ask: Ask) -> None:
        """Take a call over from the engine: answered from the journal, or to be sent when there is room."""
        try:
            model = self._desk.model_for(ask)
            reserved = self._desk.reservation(ask, model)
        except LmError as error:
            self.ready.append(ModelFailed(ask.call, error_info(error)))
            return
        if self._journal_is_stale:
            self._journal_is_stale = False
            self._journal = Journal.of_step(self._step_pk)
        request = request_sha256(ask, model.model)
        row = self._journal.find(ask.call, request)
        if row is not None and row.status == LmCall.Status.FINISHED:
            self.ready.append(
                ModelReplied(
                    ask.call,
                    row.reply,
                    input_tokens=row.input_tokens,
                    output_tokens=row.output_tokens,
                    recorded=True,
                )
            )
        elif row is not None and row.status == LmCall.Status.FAILED:
            self.ready.append(ModelFailed(ask.call, ErrorInfo(row.error_type, row.error_message)))
        else:
            self._want(_Wanted(ask, model, reserved, request, row))

    def _want(self, wanted: _Wanted) -> None:
        """What is to be sent has to be allowed; what is on record has been."""
        try:
            self._run.guard.require(wanted.model)
        except LmError as error:
            self.ready.append(ModelFailed(wanted.ask.call, error_info(error)))
        else:
            self._backlog.append(wanted)

    def end_cell(self) -> None:
        """The running cell is over: of its calls, those to be sent are dropped and those that are out are given up.

        They are of threads that were not joined, or of code that was interrupted; no answer reaches them any more.
        """
        self._given_up += [_Out(wanted.row, wanted) for wanted in self._drop_waiting() if wanted.row is not None]
        self._given_up += self._recall()

    def begin_again(self) -> None:
        """The running cell begins again in a new sandbox: what it asks this time is looked for among all on record."""
        self._drop_waiting()
        self._recall()
        self._journal_is_stale = True

    def _drop_waiting(self) -> list[_Wanted]:
        dropped = [wanted for wanted in self._backlog if wanted.ask.kind == "leaf"]
        self._backlog = deque(wanted for wanted in self._backlog if wanted.ask.kind != "leaf")
        return dropped

    def _recall(self) -> list[_Out]:
        recalled = [out for out in self._out.values() if out.wanted.ask.kind == "leaf"]
        for out in recalled:
            self._desk.cancel(out.row.number)
            del self._out[out.row.number]
        return recalled

    def wrote(self, number: int, text: str) -> None:
        if number in self._out:
            self._out[number].written.append(text)

    def answered(self, answer: Answered) -> Input | None:
        """Take an outcome from the desk; it is settled with the next commit. None when nobody waits for it."""
        out = self._out.pop(answer.number, None)
        if out is None:
            return None
        self._answered.append((out, answer))
        key = out.wanted.ask.call
        if answer.reply is None:
            return ModelFailed(key, error_info(answer.error))
        usage = answer.reply.usage
        return ModelReplied(
            key, scrub(answer.reply.text), answer.reply.finish_reason, usage.input_tokens, usage.output_tokens
        )

    def raise_refusal(self) -> None:
        """Raises the `QuotaExceeded` that keeps calls back, once nothing else of the step is out: what is out was paid for
        and is taken in first."""
        if self._refusal is not None and self._backlog and not (self._out or self._answered or self.ready):
            raise self._refusal

    def choose(self) -> bool:
        """Before the transaction: which waiting calls may go out now, within the fan-out."""
        room = settings.LM_FANOUT - len(self._out)
        if self._refusal is not None and self._out and time.monotonic() < self._refused_at + QUOTA_RETRY_S:
            room = 0
        while self._backlog and len(self._chosen) < room:
            wanted = self._backlog.popleft()
            self._chosen.append(wanted)
            prompt = _prompt_text(wanted.ask)
            if wanted.ask.kind == "leaf" and len(prompt) > INLINE_TEXT_BYTES // 4:
                # Long prompts enter the store before the session's lock is taken, so that it is held briefly.
                self._run.store.put(scrub(prompt).encode())
        return bool(self._chosen or self._answered or self._given_up or self._deltas_due())

    def _deltas_due(self) -> bool:
        """Pieces of a streaming reply are recorded a few times a second, not token by token."""
        if time.monotonic() - self._deltas_at < DELTA_EVERY_S:
            return False
        return any(out.written for out in self._out.values())

    def outcome_events(self) -> list[Event]:
        """What became of calls since the last commit; they stand before what the engine made of it."""
        node = self._run.node.number
        events: list[Event] = []
        self._deltas_at = time.monotonic()
        for out in self._out.values():
            text, out.written = "".join(out.written), []
            for start in range(0, len(text), DELTA_CHARS):
                events.append(LmOutput(node=node, call=out.row.number, text=text[start : start + DELTA_CHARS]))
        events += [self._outcome_event(out, answer) for out, answer in self._answered]
        events += [LmFailed(node=node, call=out.row.number, error=LEFT_OUT) for out in self._given_up]
        return events

    def commit(self, changes: SessionTransaction) -> None:
        """Inside the transaction: settle the answered calls, journal and reserve the chosen ones."""
        settled = [self._settle(changes, out, answer) for out, answer in self._answered]
        settled += [self._settle_given_up(changes, out) for out in self._given_up]
        if settled:
            settle_calls(settled)
        granted = []
        for n, wanted in enumerate(self._chosen):
            if wanted.row is not None:
                self._sending.append(self._take_over(wanted, wanted.row))
                continue
            refused = reserve_call(changes.meter, self._run.config.limits, wanted.reserved)
            if refused is not None:
                # One refusal ends the node: the rest is not asked.
                del self._chosen[n:]
                self._backlog.clear()
                self.ready.append(CallRefused(wanted.ask.call, refused.limit, refused.used, refused.allowed))
                break
            granted.append(wanted)
        if granted:
            self._journal_within_quotas(changes, granted)

    def _journal_within_quotas(self, changes: SessionTransaction, granted: Sequence[_Wanted]) -> None:
        """Those for which a quota has no room wait in the backlog."""
        now = timezone.now()
        count, self._refusal = admit(changes, [wanted.reserved for wanted in granted], now)
        if self._refusal is not None:
            self._refused_at = time.monotonic()
        for wanted in reversed(granted[count:]):
            release_call(changes.meter, wanted.reserved)
            self._backlog.appendleft(wanted)
        rows = []
        for wanted in granted[:count]:
            changes.meter.last_call += 1
            out = _Out(self._new_row(wanted, changes.meter.last_call, now), wanted)
            changes.emit(self._started_event(out))
            rows.append(out.row)
            self._sending.append(out)
        if rows:
            insert_calls(rows)

    def committed(self) -> None:
        """After the commit: send what was journalled."""
        self._answered.clear()
        self._given_up.clear()
        self._chosen.clear()
        sending, self._sending = self._sending, []
        for out in sending:
            key = CallKey(out.row.cell, out.row.subcall, out.row.index)
            self._journal.add(key, out.row)
            self._out[out.row.number] = out
            ask = out.wanted.ask
            place = f"{self._run.node.number}/{self._step_number}/{key.cell}/{key.subcall}/{key.index}"
            name = f"{self._run.session.uuid}/{place}"
            stream = ask.kind in STREAMED_KINDS
            self._desk.start(out.row.number, ask, out.wanted.model, name, self._run.node.depth, stream=stream)

    def _new_row(self, wanted: _Wanted, number: int, now: datetime) -> LmCall:
        ask = wanted.ask
        place = self._journal.place_for(ask.call)
        return LmCall(
            session_id=self._run.node.session_id,
            step_id=self._step_pk,
            number=number,
            kind=ask.kind,
            cell=place.cell,
            subcall=place.subcall,
            index=place.index,
            request_sha256=wanted.request,
            model=wanted.model.model,
            reserved_tokens=wanted.reserved.tokens,
            reserved_output_tokens=wanted.reserved.output_tokens,
            reserved_micro_usd=wanted.reserved.micro_usd,
            started_at=now,
        )

    def _take_over(self, wanted: _Wanted, row: LmCall) -> _Out:
        """A call that a dead worker had sent: it is sent again, booked once, and marked."""
        LmCall.objects.filter(pk=row.pk).update(maybe_repeated=True)
        row.maybe_repeated = True
        return _Out(row, wanted)

    def _started_event(self, out: _Out) -> LmStarted:
        ask, row = out.wanted.ask, out.row
        return LmStarted(
            node=self._run.node.number,
            step=self._step_number,
            call=row.number,
            kind=ask.kind,
            model=row.model,
            cell=row.cell,
            subcall=ask.call.subcall if ask.kind == "leaf" else "",
            index=row.index,
            prompt=_prompt_text(ask) if ask.kind == "leaf" else None,
        )

    def _outcome_event(self, out: _Out, answer: Answered) -> LmFinished | LmFailed:
        node, call = self._run.node.number, out.row.number
        if answer.reply is None:
            attempts = getattr(answer.error, "attempts", 1)
            error = error_info(answer.error)
            return LmFailed(node=node, call=call, error=error, duration_ms=answer.duration_ms, attempts=attempts)
        usage = answer.reply.usage
        cost = self._desk.endpoint(out.wanted.model).cost(usage)
        return LmFinished(
            node=node,
            call=call,
            reply=answer.reply.text,
            finish_reason=answer.reply.finish_reason,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_input_tokens,
            cost_micro_usd=cost.micro_usd,
            cost_source=cost.source,
            duration_ms=answer.duration_ms,
            attempts=answer.reply.attempts,
            maybe_repeated=out.row.maybe_repeated,
        )

    def _settle_given_up(self, changes: SessionTransaction, out: _Out) -> Settlement:
        release_call(changes.meter, reservation_of(out.row))
        settle(changes, out.row)
        changes.meter.lm_calls += 1  # it was sent: code must not get past the limit by not waiting
        return Settlement(out.row, LmCall.Status.ABANDONED, error_type=LEFT_OUT.type, error_message=LEFT_OUT.message)

    def _settle(self, changes: SessionTransaction, out: _Out, answer: Answered) -> Settlement:
        meter = changes.meter
        release_call(meter, reservation_of(out.row))
        meter.lm_calls += 1
        if answer.reply is None:
            settle(changes, out.row)
            meter.lm_calls_failed += 1
            error = error_info(answer.error)
            return Settlement(out.row, LmCall.Status.FAILED, error_type=error.type, error_message=error.message)
        usage = answer.reply.usage
        cost = self._desk.endpoint(out.wanted.model).cost(usage)
        meter.input_tokens += usage.input_tokens or 0
        meter.output_tokens += usage.output_tokens or 0
        meter.cost_micro_usd += cost.micro_usd or 0
        meter.calls_without_price += cost.micro_usd is None
        settle(
            changes,
            out.row,
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            micro_usd=cost.micro_usd or 0,
        )
        return Settlement(
            out.row,
            LmCall.Status.FINISHED,
            reply=scrub(answer.reply.text),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_micro_usd=cost.micro_usd,
        )


def _prompt_text(ask: Ask) -> str:
    """A leaf's prompt as the code wrote it: most are one user message."""
    if len(ask.messages) == 1:
        return ask.messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in ask.messages)


def error_info(error: BaseException | None) -> ErrorInfo:
    """What became of a call that has no reply, for the record, the code and people."""
    if error is None:
        return ErrorInfo("Cancelled", "the call was cancelled")
    message = scrub(str(error))[:1000]
    if not isinstance(error, LmError):
        return ErrorInfo(type(error).__name__, message)
    if error.advice:
        # The endpoint's own words may end in anything.
        message = f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {error.advice}"
    return ErrorInfo(type(error).__name__, message, retryable=error.retryable)
