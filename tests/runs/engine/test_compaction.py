"""When a conversation nears the window, a summary takes its place."""

from __future__ import annotations

from runs.engine.compaction import MOST, fitted
from runs.engine.estimate import estimate_tokens
from runs.engine.io import COMPACTION, TURN, Ask, ChatMessage, ModelFailed, ModelReplied
from runs.engine.profile import profile_named
from runs.engine.state import NodeState, NodeTask
from runs.events.types import Compaction, ErrorInfo, Log, StepStarted
from tests.runs.engine.stage import Stage, repl_block, task

LONG = "word " * 4_000
WINDOW = 6_000


def crowded(node_task: NodeTask) -> Stage:
    """A third step whose conversation holds a long observation."""
    opening = profile_named(node_task.profile).opening(node_task, "")
    talk = [ChatMessage("assistant", repl_block("print(context)")), ChatMessage("user", f"REPL output:\n{LONG}")]
    node = NodeState(turns=2, opening=len(opening), shown=len(opening) + len(talk))
    return Stage(node_task, node, [*opening, *talk, ChatMessage("user", "Turn 2/30:")], number=3)


def test_the_model_is_asked_for_a_summary_before_the_turn() -> None:
    stage = crowded(task(context_window_tokens=WINDOW))
    [ask] = stage.commands
    assert isinstance(ask, Ask)
    assert (ask.call, ask.kind) == (COMPACTION, "compaction")
    assert stage.events == []


def test_the_summary_replaces_all_but_the_opening_and_the_turn_goes_on() -> None:
    stage = crowded(task(context_window_tokens=WINDOW))
    before = stage.conversation[:2]
    [ask] = stage.feed(ModelReplied(COMPACTION, "Found 3 so far in `hits`."))
    assert isinstance(ask, Ask)
    assert ask.call == TURN
    assert list(ask.messages) == stage.conversation
    assert stage.conversation[:2] == before
    assert [message.role for message in stage.conversation] == ["system", "user", "user", "user"]
    assert "Found 3 so far in `hits`." in stage.conversation[2].content
    [event] = stage.of(Compaction)
    assert event.after_tokens < event.before_tokens
    [started] = stage.of(StepStarted)
    assert [str(message.content) for message in started.messages] == [stage.conversation[3].content]


def test_after_a_compaction_the_machine_may_be_lost() -> None:
    stage = crowded(task(context_window_tokens=WINDOW))
    assert stage.restart() == [stage.commands[0]]
    asked = stage.feed(ModelReplied(COMPACTION, "A summary."))
    assert stage.restart() == asked


def test_the_last_request_after_a_compaction_holds_the_turn_and_its_outcome() -> None:
    stage = crowded(task(context_window_tokens=WINDOW, max_steps_per_node=3))
    stage.feed(ModelReplied(COMPACTION, "A summary."))
    [ask] = stage.reply("Hm.")
    assert isinstance(ask, Ask)
    assert list(ask.messages) == stage.conversation
    assert ChatMessage("assistant", "Hm.") in ask.messages


def test_the_examples_and_the_question_of_the_small_profile_stay() -> None:
    stage = crowded(task(context_window_tokens=WINDOW, profile="small"))
    opening = list(stage.conversation[:-3])
    stage.feed(ModelReplied(COMPACTION, "A summary."))
    assert stage.conversation[: len(opening)] == opening
    assert "How many?" in opening[-1].content


def test_a_summary_that_cannot_be_had_is_logged_and_the_turn_goes_on() -> None:
    stage = crowded(task(context_window_tokens=WINDOW))
    [ask] = stage.feed(ModelFailed(COMPACTION, ErrorInfo("ModelError", "too long")))
    assert isinstance(ask, Ask)
    assert ask.call == TURN
    [log] = stage.of(Log)
    assert "too long" in log.message


def test_compaction_may_be_turned_off() -> None:
    [ask] = crowded(task(context_window_tokens=WINDOW, compaction=False)).commands
    assert isinstance(ask, Ask)
    assert ask.call == TURN


def test_a_request_for_a_summary_fits_the_window_even_when_the_conversation_does_not() -> None:
    [ask] = crowded(task(context_window_tokens=3_000)).commands
    assert isinstance(ask, Ask)
    assert estimate_tokens(ask.messages) <= MOST * 3_000
    assert ask.messages[-1].content.startswith("The conversation is getting too long")


def test_the_longest_messages_are_cut_and_the_short_ones_kept() -> None:
    messages = (ChatMessage("user", "short"), ChatMessage("user", "a" + LONG + "z"))
    short, long = fitted(messages, 2_000)
    assert short.content == "short"
    assert long.content.startswith("a")
    assert long.content.endswith("z")
    assert "left out" in long.content
    assert fitted(messages, 20_000) == messages
