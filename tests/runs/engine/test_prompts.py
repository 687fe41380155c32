"""The standard profile's words: what a model must be told to use the REPL."""

from __future__ import annotations

import pytest

from runs.engine.profile import profile_named
from runs.engine.prompts import system_prompt
from runs.engine.state import NodeState, ToolInfo
from tests.runs.engine.stage import task

NAMES = ("context", "llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched", "SHOW_VARS", "answer")


@pytest.mark.parametrize("max_depth", [1, 3])
def test_every_name_of_the_interface_is_explained(max_depth: int) -> None:
    text = system_prompt(task(max_depth=max_depth))
    assert all(f"`{name}" in text for name in NAMES)
    assert ("a new REPL session" in text) == (max_depth > 1)


def test_the_budget_is_told() -> None:
    text = system_prompt(task(max_steps_per_node=12, cell_timeout_s=45, max_lm_calls=1_234))
    assert "12 turns, 45 s of computing for each block, 1,234 model calls in all" in text
    assert "model calls" not in system_prompt(task(max_lm_calls=None)).rpartition("You have")[2]


def test_custom_tools_are_listed() -> None:
    tools = (ToolInfo("lookup", description="finds a customer"), ToolInfo("RATE", value=3))
    text = system_prompt(task(tools=tools))
    assert "- `lookup`: finds a customer\n- `RATE`: defined for this session" in text


def test_a_session_s_own_prompt_replaces_ours_whole() -> None:
    own = "You are terse. {context} stays as it is."
    assert system_prompt(task(system_prompt=own)) == own
    opening = profile_named("standard").opening(task(system_prompt=own), "")
    assert opening[0].content == own
    assert "How many?" in opening[1].content


@pytest.mark.parametrize(
    ("kind", "words"), [("text", "a `str`"), ("json", "parsed JSON"), ("bytes", "a `bytes` object")]
)
def test_the_kind_and_size_of_the_context_are_told(kind: str, words: str) -> None:
    question = profile_named("standard").opening(task(context_kind=kind, context_chars=10_485_760), "")[1].content
    assert words in question
    assert "10,485,760" in question


@pytest.mark.parametrize(("turn", "words"), [(1, "look at the context first"), (2, "Turn 2/3:"), (3, "your last turn")])
def test_each_turn_says_how_many_are_left(turn: int, words: str) -> None:
    message = profile_named("standard").turn(task(max_steps_per_node=3), NodeState(), turn)
    assert message is not None
    assert words in message.content


def test_braces_in_what_users_write_are_no_placeholders() -> None:
    tools = (ToolInfo("fmt", description="uses {curly} braces"),)
    assert "{curly}" in system_prompt(task(tools=tools, sub_model="a{b}"))


def test_a_profile_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        profile_named("unheard-of")
