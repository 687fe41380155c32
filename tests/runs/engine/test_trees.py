"""Whole trees in memory: recursion, limits, and that nothing hangs on the memory of a machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.engine.inmemory import Asked, Model, ModelError, Repl, Result, Tree
from runs.engine.state import NodeTask
from runs.events.types import LimitHit, NodeFinished, NodeStarted, StepFinished, SubcallClosed
from tests.runs.engine.stage import TinyRepl, repl_block, task


def run(model: Model, *, paranoid: bool = False, **changes: Any) -> Result:
    repls: list[TinyRepl] = []

    def make(_: NodeTask, context: str) -> Repl:
        repls.append(TinyRepl(context))
        return repls[-1]

    result = Tree(task(**changes), "the context", model, make, paranoid=paranoid).run()
    assert all(repl.closed for repl in repls), "every sandbox is given back"
    return result


def replies(*texts: str, leaf: str = "leaf") -> Callable[[Asked], str]:
    """A model that gives a node's turns these replies; the last one again and again."""

    def model(asked: Asked) -> str:
        return leaf if asked.ask.kind == "leaf" else texts[min(asked.step, len(texts)) - 1]

    return model


def test_a_node_that_answers_in_its_second_step() -> None:
    result = run(replies(repl_block("print hello"), repl_block("answer 42")))
    assert (result.status, result.answer, result.partial) == ("finished", "42", False)
    roles = [message.role for message in result.conversations[0]]
    assert roles == ["system", "user", "user", "assistant", "user", "user"]
    assert "hello" in result.conversations[0][4].content


def test_leaves_answer_in_the_order_of_the_prompts() -> None:
    def model(asked: Asked) -> str:
        if asked.ask.kind == "leaf":
            return asked.ask.messages[-1].content.upper()
        return repl_block("llm a|b|c", "answer replies")

    result = run(model)
    assert result.answer == "A B C"
    assert result.model_calls == 4


def grow(asked: Asked) -> str:
    """Every node opens as many children as its prompt says, one list for each level below."""
    levels = [2, 3, 3, 3, 5][asked.depth :]
    if not levels:
        return repl_block("answer 1")
    return repl_block("rlm " + "|".join("below" for _ in range(levels[0])), "answer replies")


@pytest.mark.parametrize("paranoid", [False, True])
def test_a_tree_of_depth_five_and_more_than_three_hundred_nodes(paranoid: bool) -> None:
    result = run(grow, max_depth=6, paranoid=paranoid)
    started = [event for event in result.events if isinstance(event, NodeStarted)]
    assert len(started) == 1 + 2 + 6 + 18 + 54 + 270
    assert max(event.depth for event in started) == 5
    assert result.answer == " ".join("1" for _ in range(270))


def test_at_the_depth_limit_a_recursive_call_is_a_plain_one() -> None:
    result = run(replies(repl_block("rlm a|b", "answer replies"), leaf="plain"), max_depth=1)
    assert result.answer == "plain plain"
    assert len(result.conversations) == 1


def test_a_child_knows_only_its_prompt() -> None:
    result = run(
        lambda asked: repl_block("answer deep" if asked.depth else "rlm what is it?"), max_depth=2, max_steps_per_node=1
    )
    child = result.conversations[1]
    assert "How many?" not in child[1].content
    assert "in the context itself" in child[1].content


def test_a_child_that_runs_out_of_steps_answers_with_what_it_has() -> None:
    def model(asked: Asked) -> str:
        if asked.ask.kind == "final":
            return "about seven"
        return repl_block("print looking") if asked.depth else repl_block("rlm count", "answer replies")

    result = run(model, max_depth=2, max_steps_per_node=2)
    assert (result.status, result.answer) == ("finished", "about seven")
    child = next(event for event in result.events if isinstance(event, NodeFinished) and event.node == 1)
    assert (child.status, child.partial) == ("limited", True)


def test_a_child_that_fails_is_an_error_for_the_code_alone() -> None:
    def model(asked: Asked) -> str:
        if asked.depth:
            raise ModelError("the model is away")
        return repl_block("rlm a|b", "answer replies")

    result = run(model, max_depth=2)
    assert (result.status, result.answer) == ("finished", "Error: the model is away Error: the model is away")
    closed = next(event for event in result.events if isinstance(event, SubcallClosed))
    assert closed.failed == 2


def test_a_failed_turn_of_the_root_fails_the_session() -> None:
    def model(asked: Asked) -> str:
        raise ModelError("wrong key")

    result = run(model)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.message == "wrong key"


def test_a_limit_of_the_tree_reached_in_a_child_ends_the_session_with_the_root_s_draft() -> None:
    def model(asked: Asked) -> str:
        if asked.depth:
            return repl_block("llm a|b|c|d")
        return repl_block("draft so far") if asked.step == 1 else repl_block("rlm deeper")

    result = run(model, max_depth=2, max_lm_calls=5)
    assert (result.status, result.answer, result.partial) == ("limited", "so far", True)
    hits = [event for event in result.events if isinstance(event, LimitHit)]
    assert [(hit.limit, hit.node) for hit in hits] == [("max_lm_calls", 1)]


def test_too_many_nodes_are_refused_before_any_is_opened() -> None:
    result = run(lambda asked: repl_block("rlm a|b|c"), max_depth=3, max_nodes=3)
    assert result.status == "limited"
    assert len(result.conversations) == 1


def test_threads_that_call_recursively_do_not_keep_the_step_from_waiting() -> None:
    def model(asked: Asked) -> str:
        if asked.depth:
            return repl_block(f"answer {asked.node}")
        return repl_block("thread rlm a", "thread rlm b", "print meanwhile", "join", "answer replies")

    result = run(model, max_depth=2)
    assert result.answer == "1 2"


def test_the_root_s_end_stops_what_it_does_not_wait_for() -> None:
    def model(asked: Asked) -> str:
        return repl_block("print looking") if asked.depth else repl_block("thread rlm a", "answer early")

    result = run(model, max_depth=2)
    ended = {event.node: event.status for event in result.events if isinstance(event, NodeFinished)}
    assert ended == {0: "finished", 1: "stopped"}


# Resumability -----------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["alpha", "beta", "gamma delta"])
PROMPTS = st.lists(WORDS, min_size=1, max_size=3).map("|".join)
STATEMENTS = st.one_of(
    WORDS.map("print {}".format),
    PROMPTS.map("llm {}".format),
    PROMPTS.map("rlm {}".format),
    PROMPTS.map("thread rlm {}".format),
    PROMPTS.map("thread llm {}".format),
    st.just("join"),
    WORDS.map("draft {}".format),
    st.sampled_from(["fail", "answer yes", "answer replies"]),
)
CELLS = st.lists(STATEMENTS, max_size=4).map(lambda lines: repl_block(*lines))
PROSE = st.sampled_from(["I think so.", "FINAL(in text)", "FINAL_VAR(x)", "```repl\nprint cut off"])
REPLIES = st.lists(st.one_of(CELLS, CELLS, PROSE), max_size=3).map("\n".join)


def scripted(turns: list[str], faults: int) -> Callable[[Asked], str]:
    """A model that picks its replies by what it is asked; one in `faults` calls fails (0: none)."""

    def model(asked: Asked) -> str:
        seed = f"{asked.depth}/{asked.step}/{asked.ask.call}/{asked.ask.messages[-1].content}"
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
        if faults and number % faults == 0:
            raise ModelError("by chance")
        return f"reply {number % 97}" if asked.ask.kind == "leaf" else turns[number % len(turns)]

    return model


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    turns=st.lists(REPLIES, min_size=1, max_size=5),
    faults=st.sampled_from([0, 0, 5, 11]),
    max_depth=st.integers(1, 3),
    max_steps_per_node=st.integers(1, 4),
    max_lm_calls=st.sampled_from([6, 25, 80]),
    context_window_tokens=st.sampled_from([1_000, 128_000]),
)
def test_a_machine_lost_after_every_input_makes_no_difference(
    turns: list[str], faults: int, max_depth: int, **limits: Any
) -> None:
    model = scripted(turns, faults)
    settled = run(model, max_depth=max_depth, max_nodes=25, **limits)
    paranoid = run(model, max_depth=max_depth, max_nodes=25, paranoid=True, **limits)
    assert paranoid.events == settled.events
    assert paranoid == settled
    assert run(model, max_depth=max_depth, max_nodes=25, **limits) == settled, "the same replies give the same run"
    _check_books(settled)


def _check_books(result: Result) -> None:
    """What must hold of any log: all that starts ends, once, and steps count from 1."""
    started = [event.node for event in result.events if isinstance(event, NodeStarted)]
    ended = [event.node for event in result.events if isinstance(event, NodeFinished)]
    assert sorted(ended) == started == list(range(len(started)))
    steps: dict[int, list[int]] = {}
    for event in result.events:
        if isinstance(event, StepFinished):
            steps.setdefault(event.node, []).append(event.step)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in steps.values())
