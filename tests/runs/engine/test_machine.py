"""One step: what the machine asks for, records and ends with, input by input."""

from __future__ import annotations

from typing import Any

import pytest

from runs.engine.io import (
    FINAL,
    TURN,
    AnswerSubcall,
    Ask,
    CallKey,
    CallRefused,
    CellOverdue,
    ChatMessage,
    ChildEnded,
    EndNode,
    InterruptCell,
    LimitReached,
    ModelFailed,
    ModelReplied,
    NextStep,
    OpenChildren,
    RunCell,
    SandboxReplaced,
    Suspend,
)
from runs.engine.state import NodeState
from runs.events.types import (
    CellFinished,
    CellOutput,
    CellStarted,
    ErrorInfo,
    LimitHit,
    StepFinished,
    StepStarted,
    SubcallClosed,
    SubcallOpened,
)
from tests.runs.engine.stage import Stage, called, finished, keys, printed, repl_block, task

BROKEN = ErrorInfo("ModelError", "the model is away")


def in_cell(*lines: str, **changes: Any) -> Stage:
    """A stage whose first cell runs."""
    stage = Stage(task(max_depth=2, **changes))
    stage.reply(repl_block(*(lines or ("work()",))))
    return stage


# The turn -------------------------------------------------------------------------------------------------------------


def test_the_first_step_opens_the_conversation_and_asks_the_root_model() -> None:
    stage = Stage(task())
    [ask] = stage.commands
    assert isinstance(ask, Ask)
    assert (ask.call, ask.kind, ask.role) == (TURN, "turn", "root")
    assert list(ask.messages) == stage.conversation
    [started] = stage.of(StepStarted)
    assert [message.role for message in started.messages] == ["system", "user", "user"]


def test_a_child_is_worked_on_by_the_sub_model() -> None:
    [ask] = Stage(task(depth=1, max_depth=3)).commands
    assert isinstance(ask, Ask)
    assert ask.role == "sub"


def test_a_later_step_records_only_the_messages_that_are_new() -> None:
    first = in_cell()
    first.feed(printed("seen"), finished())
    second = Stage(task(), first.machine.node, first.conversation, number=2)
    [started] = second.of(StepStarted)
    assert [message.role for message in started.messages] == ["user", "user"]
    assert "seen" in str(started.messages[0].content)
    assert str(started.messages[1].content).startswith("Turn 2/")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("", "no code to run"),
        ("Let me think.", "no code to run"),
        ("```repl\nx = 1", "cut off"),
        ("```json\n{}\n```", "no code"),
    ],
)
def test_a_reply_without_code_goes_on_with_a_hint(reply: str, told: str) -> None:
    stage = Stage(task())
    assert stage.reply(reply) == [NextStep()]
    assert stage.conversation[-2] == ChatMessage("assistant", reply)
    assert told in stage.conversation[-1].content


def test_a_failed_turn_ends_the_node() -> None:
    stage = Stage(task())
    assert stage.feed(ModelFailed(TURN, BROKEN)) == [EndNode("failed", error=BROKEN)]
    [ended] = stage.of(StepFinished)
    assert (ended.status, ended.error) == ("failed", BROKEN)


# Cells ----------------------------------------------------------------------------------------------------------------


def test_cells_of_a_reply_run_one_after_the_other() -> None:
    stage = Stage(task(cell_timeout_s=7))
    assert stage.reply(repl_block("a = 1") + "\nthen\n" + repl_block("print(a)")) == [RunCell(1, "a = 1", 7.0)]
    assert stage.feed(finished()) == [RunCell(2, "print(a)", 7.0)]
    assert stage.feed(printed("1\n"), finished("1.2.1")) == [NextStep()]
    assert [event.code for event in stage.of(CellStarted)] == ["a = 1", "print(a)"]
    assert [event.cell for event in stage.of(CellOutput)] == [2]
    assert "block 2" in stage.conversation[-1].content


def test_a_cell_that_raises_is_shown_and_the_next_runs() -> None:
    stage = Stage(task())
    stage.reply(repl_block("bad()") + "\n" + repl_block("good()"))
    assert stage.feed(finished(status="error")) == [RunCell(2, "good()", 120.0)]
    assert stage.feed(finished("1.2.1")) == [NextStep()]
    assert "Traceback: ValueError: wrong" in stage.conversation[-1].content
    first, second = stage.of(CellFinished)
    assert (first.status, first.error.message, second.status) == ("error", "wrong", "ok")


def test_a_cell_past_its_time_is_interrupted_and_the_model_told() -> None:
    stage = in_cell("while True: pass")
    assert stage.feed(CellOverdue(1)) == [InterruptCell(1, "timeout")]
    assert stage.feed(CellOverdue(2)) == []
    assert stage.feed(finished(status="timeout")) == [NextStep()]
    assert "ran past its time limit" in stage.conversation[-1].content


def test_cells_that_fail_one_after_another_end_the_node() -> None:
    stage = Stage(task(max_consecutive_errors=3), NodeState(consecutive_errors=2, turns=1, partial="a draft"))
    stage.reply(repl_block("bad()"))
    [end] = stage.feed(finished(status="error"))
    assert isinstance(end, EndNode)
    assert (end.status, end.answer, end.partial, end.limit) == ("limited", "a draft", True, None)
    [hit] = stage.of(LimitHit)
    assert (hit.limit, hit.used, hit.allowed, hit.partial) == ("max_consecutive_errors", 3, 3, "a draft")


def test_a_cell_that_runs_well_resets_the_count_of_errors() -> None:
    stage = Stage(task(max_consecutive_errors=3), NodeState(consecutive_errors=2, turns=1))
    stage.reply(repl_block("good()") + "\n" + repl_block("bad()"))
    stage.feed(finished())
    assert stage.feed(finished("1.2.1", status="error")) == [NextStep()]
    assert stage.machine.node.consecutive_errors == 1


def test_a_cell_whose_sandbox_is_lost_runs_again_and_its_output_starts_over() -> None:
    stage = in_cell()
    stage.feed(printed("half"), called("c1", "ask"))
    assert stage.feed(SandboxReplaced("gone")) == [RunCell(1, "work()", 120.0, attempt=2)]
    assert stage.machine.step.cells[0].stdout.chars == 0
    [ask] = stage.feed(called("c1", "ask"))
    assert isinstance(ask, Ask), "the call is asked again: the journal answers it if it was answered"
    assert stage.feed(ModelReplied(ask.call, "yes")) == [AnswerSubcall(ask.call, "yes")]
    stage.feed(printed("whole"), finished("1.1.2"))
    assert [event.attempt for event in stage.of(CellStarted)] == [1, 2]
    assert len(stage.of(SubcallOpened)) == len(stage.of(SubcallClosed)) == 1
    assert "whole" in stage.conversation[-1].content
    assert "half" not in stage.conversation[-1].content


# Sub-calls ------------------------------------------------------------------------------------------------------------


def test_a_leaf_call_is_asked_and_answered() -> None:
    stage = in_cell()
    [ask] = stage.feed(called("c1", "what?", model="tiny"))
    assert isinstance(ask, Ask)
    assert (ask.kind, ask.role, ask.model) == ("leaf", "sub", "tiny")
    assert ask.messages == (ChatMessage("user", "what?"),)
    assert stage.feed(ModelReplied(ask.call, "that")) == [AnswerSubcall(CallKey(1, "c1", 0), "that")]
    assert stage.names()[-2:] == ["SubcallOpened", "SubcallClosed"]


def test_a_batch_is_one_call_with_all_its_prompts_asked_at_once() -> None:
    stage = in_cell()
    asked = stage.feed(called("c1", "a", "b", "c", batch=True))
    assert keys(asked) == [CallKey(1, "c1", n) for n in range(3)]
    [opened] = stage.of(SubcallOpened)
    assert (opened.count, opened.batch) == (3, True)
    stage.feed(ModelReplied(CallKey(1, "c1", 2), "C"), ModelFailed(CallKey(1, "c1", 0), BROKEN))
    assert stage.commands == [
        AnswerSubcall(CallKey(1, "c1", 2), "C"),
        AnswerSubcall(CallKey(1, "c1", 0), error="the model is away"),
    ]
    assert stage.of(SubcallClosed) == []
    stage.feed(ModelReplied(CallKey(1, "c1", 1), "B"))
    [closed] = stage.of(SubcallClosed)
    assert closed.failed == 1


def test_an_answer_that_comes_twice_or_for_nothing_is_passed_over() -> None:
    stage = in_cell()
    stage.feed(called("c1", "a", "b"))
    key = CallKey(1, "c1", 0)
    assert len(stage.feed(ModelReplied(key, "A"), ModelReplied(key, "A"))) == 1
    assert stage.feed(ModelReplied(CallKey(1, "c9", 0), "?"), ModelReplied(CallKey(2, "c1", 1), "?")) == []
    assert stage.feed(ModelReplied(TURN, "a late turn")) == []


def test_a_list_of_messages_is_passed_on_as_such() -> None:
    stage = in_cell()
    [ask] = stage.feed(called("c1", '[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]'))
    assert isinstance(ask, Ask)
    assert ask.messages == (ChatMessage("system", "be brief"), ChatMessage("user", "hi"))


@pytest.mark.parametrize(
    "prompt", ['[{"role":"tool","content":"x"}]', '["role"]', "[", "[]", '[{"role":"user","x":' + "[" * 50_000]
)
def test_what_only_looks_like_messages_is_a_text(prompt: str) -> None:
    [ask] = in_cell().feed(called("c1", prompt))
    assert isinstance(ask, Ask)
    assert ask.messages == (ChatMessage("user", prompt),)


def test_an_empty_batch_is_closed_at_once() -> None:
    stage = in_cell()
    assert stage.feed(called("c1", batch=True)) == []
    assert stage.names()[-2:] == ["SubcallOpened", "SubcallClosed"]


def test_a_recursive_call_opens_children_and_lets_go_of_the_worker() -> None:
    stage = in_cell()
    commands = stage.feed(called("c1", "left", "right", kind="rlm"))
    both = (CallKey(1, "c1", 0), CallKey(1, "c1", 1))
    assert commands == [OpenChildren(1, "c1", ((0, "left"), (1, "right"))), Suspend(both)]
    assert stage.feed(ChildEnded(both[0], "L", partial=True)) == [AnswerSubcall(both[0], "L"), Suspend(both[1:])]
    assert stage.feed(ChildEnded(both[1], error="limited")) == [AnswerSubcall(both[1], error="limited")]
    [closed] = stage.of(SubcallClosed)
    assert closed.failed == 1


def test_a_step_waits_on_while_a_model_s_answer_is_still_to_come() -> None:
    stage = in_cell()
    stage.feed(called("c1", "a", blocking=False))
    assert stage.feed(called("c2", "b", kind="rlm")) == [OpenChildren(1, "c2", ((0, "b"),))]
    assert stage.machine.can_suspend() == ()
    _, suspend = stage.feed(ModelReplied(CallKey(1, "c1", 0), "A"))
    assert suspend == Suspend((CallKey(1, "c2", 0),))


def test_a_step_whose_threads_alone_wait_says_so_only_when_asked() -> None:
    stage = in_cell()
    [opened] = stage.feed(called("c1", "a", kind="rlm", blocking=False))
    assert isinstance(opened, OpenChildren)
    assert stage.machine.can_suspend() == (CallKey(1, "c1", 0),)


def test_calls_that_a_cell_leaves_open_are_closed_with_it() -> None:
    stage = in_cell()
    stage.feed(called("c1", "a", blocking=False), finished())
    assert stage.names()[-4:] == ["SubcallOpened", "SubcallClosed", "CellFinished", "StepFinished"]


# Answers --------------------------------------------------------------------------------------------------------------


def test_code_gives_the_answer() -> None:
    stage = in_cell("answer['ready'] = True")
    assert stage.feed(finished(final="42")) == [EndNode("finished", answer="42")]
    assert stage.names()[-2:] == ["CellFinished", "StepFinished"]


def test_an_empty_answer_is_an_answer() -> None:
    assert in_cell().feed(finished(final="")) == [EndNode("finished", answer="")]


def test_all_cells_run_and_the_first_answer_counts() -> None:
    stage = Stage(task())
    stage.reply(repl_block("one") + "\n" + repl_block("two"))
    assert stage.feed(finished(final="first")) == [RunCell(2, "two", 120.0)]
    assert stage.feed(finished("1.2.1", final="second")) == [EndNode("finished", answer="first")]


def test_an_answer_in_the_text_without_code_is_taken() -> None:
    assert Stage(task()).reply("I know.\nFINAL(forty two)") == [EndNode("finished", answer="forty two")]


def test_an_answer_in_the_text_waits_for_the_code_beside_it() -> None:
    stage = Stage(task())
    stage.reply(repl_block("check()") + "\nFINAL(42)")
    assert stage.feed(finished()) == [EndNode("finished", answer="42")]


@pytest.mark.parametrize("answer", ["FINAL(42)", "FINAL_VAR(total)"])
def test_an_answer_beside_code_that_failed_is_not_taken(answer: str) -> None:
    stage = Stage(task())
    stage.reply(repl_block("check()") + "\n" + answer)
    assert stage.feed(finished(status="error")) == [NextStep()]


@pytest.mark.parametrize("code", ["", repl_block("total = 42") + "\n"])
def test_a_variable_named_in_the_text_is_fetched_by_a_built_in_cell(code: str) -> None:
    stage = Stage(task())
    commands = stage.reply(code + "FINAL_VAR(total)")
    if code:
        commands = stage.feed(finished())
    [fetch] = commands
    assert isinstance(fetch, RunCell)
    assert "FINAL_VAR('total')" in fetch.code
    assert stage.of(CellStarted)[-1].built_in
    assert stage.feed(finished(final="42")) == [EndNode("finished", answer="42")]


def test_a_variable_is_not_fetched_when_code_gave_the_answer() -> None:
    stage = Stage(task())
    stage.reply(repl_block("answer['ready'] = True") + "\nFINAL_VAR(total)")
    assert stage.feed(finished(final="42")) == [EndNode("finished", answer="42")]


def test_a_variable_that_is_not_there_is_reported_and_the_node_goes_on() -> None:
    stage = Stage(task())
    stage.reply("FINAL_VAR(total)")
    assert stage.feed(printed("Error: Variable 'total' not found."), finished()) == [NextStep()]
    assert "not found" in stage.conversation[-1].content


# Limits ---------------------------------------------------------------------------------------------------------------


def test_out_of_turns_the_model_is_asked_once_more() -> None:
    stage = in_cell(max_steps_per_node=1)
    [ask] = stage.feed(finished())
    assert isinstance(ask, Ask)
    assert (ask.call, ask.kind) == (FINAL, "final")
    [hit] = stage.of(LimitHit)
    assert (hit.limit, hit.used, hit.allowed) == ("max_steps_per_node", 1, 1)
    end = EndNode("limited", answer="about seven", partial=True)
    assert stage.feed(ModelReplied(FINAL, "about seven")) == [end]


def test_the_last_request_may_be_answered_in_the_old_protocol() -> None:
    stage = in_cell(max_steps_per_node=1)
    stage.feed(finished())
    assert stage.feed(ModelReplied(FINAL, "FINAL(7)")) == [EndNode("limited", answer="7", partial=True)]


@pytest.mark.parametrize("said", [ModelReplied(FINAL, "  "), ModelFailed(FINAL, BROKEN)])
def test_without_a_last_answer_the_draft_counts(said: ModelReplied | ModelFailed) -> None:
    stage = in_cell(max_steps_per_node=1)
    stage.feed(finished(partial="a draft"))
    [end] = stage.feed(said)
    assert isinstance(end, EndNode)
    assert (end.status, end.answer, end.partial, end.limit) == ("limited", "a draft", True, None)


@pytest.mark.parametrize(
    "told",
    [CallRefused(CallKey(1, "c1", 0), "max_cost_usd", 5.1, 5.0), LimitReached("max_cost_usd", 5.1, 5.0)],
)
def test_a_limit_of_the_tree_ends_everything_at_once(told: CallRefused | LimitReached) -> None:
    stage = in_cell()
    stage.feed(called("c1", "a"))
    interrupt, end = stage.feed(told)
    assert interrupt == InterruptCell(1, "limit")
    assert isinstance(end, EndNode)
    assert (end.status, end.limit) == ("limited", "max_cost_usd")
    assert end.error is not None
    assert end.error.message == "max_cost_usd: 5.1 used, 5 allowed"
    assert stage.of(StepFinished)[0].status == "limited"
    assert stage.feed(printed("late"), ModelReplied(CallKey(1, "c1", 0), "A"), finished()) == [], "the step is over"


def test_a_refused_turn_ends_the_node_without_an_interrupt() -> None:
    [end] = Stage(task()).feed(CallRefused(TURN, "max_tokens", 10, 5))
    assert isinstance(end, EndNode)
    assert (end.status, end.answer, end.partial) == ("limited", None, False)


def test_a_root_without_a_draft_reports_its_last_words() -> None:
    first = in_cell()
    first.machine.step.reply = "It looks like 7.\n" + first.machine.step.reply
    first.feed(finished())
    second = Stage(task(), first.machine.node, first.conversation, number=2)
    [end] = second.feed(LimitReached("max_wall_s", 61, 60))
    assert isinstance(end, EndNode)
    assert (end.answer, end.partial) == ("It looks like 7.", True)


def test_a_child_without_a_draft_has_no_answer_for_the_code() -> None:
    stage = Stage(task(depth=1), NodeState(last_words="It looks like 7."))
    [end] = stage.feed(LimitReached("max_wall_s", 61, 60))
    assert isinstance(end, EndNode)
    assert end.answer is None


# Taken up again -------------------------------------------------------------------------------------------------------


def test_a_turn_that_was_asked_is_asked_again_with_the_same_messages() -> None:
    stage = Stage(task())
    asked = stage.commands
    events = list(stage.events)
    assert stage.restart() == asked
    assert stage.events == events


def test_a_running_cell_is_run_again_without_a_new_event_and_its_calls_are_not_reopened() -> None:
    stage = in_cell()
    stage.feed(called("c1", "a", "b"), ModelReplied(CallKey(1, "c1", 0), "A"))
    events = list(stage.events)
    assert stage.restart() == [RunCell(1, "work()", 120.0)]
    assert keys(stage.feed(called("c1", "a", "b"))) == [CallKey(1, "c1", 0), CallKey(1, "c1", 1)]
    assert stage.events == events
    stage.feed(ModelReplied(CallKey(1, "c1", 0), "A"), ModelReplied(CallKey(1, "c1", 1), "B"))
    assert stage.names()[len(events) :] == ["SubcallClosed"]


def test_a_last_request_is_asked_again_with_the_same_messages() -> None:
    stage = in_cell(max_steps_per_node=1)
    asked = stage.feed(printed("much"), finished())
    assert stage.restart() == asked


def test_a_step_that_is_over_does_nothing() -> None:
    stage = Stage(task())
    stage.reply("no code")
    assert stage.restart() == []


def test_the_machine_says_when_there_is_something_to_store() -> None:
    stage = in_cell()
    stage.machine.clean()
    stage.feed(CellOverdue(1))
    assert not stage.machine.dirty
    stage.feed(printed("x"))
    assert stage.machine.dirty
