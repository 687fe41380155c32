"""The scripted model: rules, templates, seeds, latency, faults, the ledger and the built-in scripts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from runs.lm.base import LmReply, LmRequest, Message, ModelChoice
from runs.lm.errors import (
    LmAuthFailed,
    LmBadRequest,
    LmContextTooLong,
    LmError,
    LmMalformedReply,
    LmRateLimited,
    LmTimeout,
    LmUnavailable,
    LmUnknownModel,
)
from runs.lm.scripted import ScriptedClient, build
from runs.lm.site import Site

QUICK = {"max_attempts": 3, "first_delay_s": 0.001, "attempt_timeout_s": 30}


def scripted(script: object, **extra: object) -> ScriptedClient:
    choice = ModelChoice("scripted", "scripted:test", extra={"script": script, "retry": QUICK, **extra})
    return build(choice, "", Site())


def ask(
    text: str = "hello",
    *,
    key: str = "0/1/0/turn/0",
    kind: str = "turn",
    depth: int = 0,
    before: tuple[str, ...] = (),
) -> LmRequest:
    roles = ("user", "assistant")
    earlier = tuple(Message(roles[place % 2], content) for place, content in enumerate(before))  # type: ignore[arg-type]
    return LmRequest((*earlier, Message("user", text)), key=key, kind=kind, depth=depth)


def answer(client: ScriptedClient, request: LmRequest) -> LmReply:
    return asyncio.run(client.complete(request))


def test_first_rule_that_fits_wins() -> None:
    client = scripted(
        {
            "rules": [
                {"when": {"kind": "leaf"}, "reply": "leaf"},
                {"when": {"kind": "turn", "depth": 1}, "reply": "child"},
                {"when": {"step": 2, "contains": "needle"}, "reply": "found"},
                {"when": {"step": 2}, "reply": "second"},
                {"when": {"node": 7, "min_step": 3}, "reply": "late"},
            ],
            "default": {"reply": "otherwise"},
        }
    )
    assert answer(client, ask(kind="leaf")).text == "leaf"
    assert answer(client, ask(depth=1)).text == "child"
    assert answer(client, ask("a needle", key="0/2/0/turn/0")).text == "found"
    assert answer(client, ask("hay", key="0/2/0/turn/0", before=("needle", "reply"))).text == "second"
    assert answer(client, ask(key="7/4/0/turn/0")).text == "late"
    assert answer(client, ask()).text == "otherwise"


def test_keys_may_carry_a_session_in_front() -> None:
    client = scripted({"default": {"reply": "{node} {step} {index}"}})
    assert answer(client, ask(key="some-session/3/4/1/c2/5")).text == "3 4 5"


def test_templates_fill_facts_once_and_leave_code_alone() -> None:
    client = scripted({"default": {"reply": "{depth}|{last_output}|f'{value}' {{}} {'a': 1}"}})
    reply = answer(client, ask("it says {prompt}", depth=2, before=("first", "answer")))
    assert reply.text == "2|it says {prompt}|f'{value}' {{}} {'a': 1}"


def test_hostile_characters_are_scrubbed_from_replies() -> None:
    assert answer(scripted({"default": {"reply": "a\x00b"}}), ask()).text == "a\u2400b"


def test_same_request_gets_the_same_reply_whoever_asks() -> None:
    script = {"seed": 4, "default": {"reply": ["a", "b", "c", "d"]}}
    requests = [ask(key=f"0/1/1/c1/{index}") for index in range(40)]
    first = [answer(scripted(script), request).text for request in requests]
    second = [answer(scripted(script), request).text for request in reversed(requests)]
    assert first == second[::-1]
    assert set(first) == {"a", "b", "c", "d"}
    other_seed = [answer(scripted({**script, "seed": 5}), request).text for request in requests]
    assert other_seed != first


def test_a_share_of_the_calls_is_drawn_by_key() -> None:
    script = {"rules": [{"when": {"share": 0.25}, "reply": "drawn"}], "default": {"reply": "rest"}}
    client = scripted(script)
    drawn = Counter(answer(client, ask(key=f"0/1/1/c1/{index}")).text for index in range(400))
    assert 60 < drawn["drawn"] < 140


def test_text_streams_in_order_and_adds_up() -> None:
    pieces: list[str] = []
    client = scripted({"default": {"reply": "one two three", "stream_ms": 5}})
    reply = asyncio.run(client.complete(ask(), pieces.append))
    assert len(pieces) > 1
    assert "".join(pieces) == reply.text == "one two three"


def test_usage_is_what_the_script_says_or_an_estimate() -> None:
    told = answer(scripted({"default": {"reply": "x", "usage": {"input_tokens": 3, "output_tokens": 5}}}), ask())
    assert (told.usage.input_tokens, told.usage.output_tokens) == (3, 5)
    estimated = answer(scripted({"default": {"reply": "x" * 9}}), ask("12345678"))
    assert (estimated.usage.input_tokens, estimated.usage.output_tokens) == (2, 3)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", LmBadRequest),
        ("401", LmAuthFailed),
        ("404", LmUnknownModel),
        ("429", LmRateLimited),
        ("500", LmUnavailable),
        ("503", LmUnavailable),
        ("context", LmContextTooLong),
        ("malformed", LmMalformedReply),
        ("truncated", LmMalformedReply),
        ("reset", LmUnavailable),
    ],
)
def test_a_fault_is_its_typed_error_after_the_right_number_of_attempts(fault: str, error: type[LmError]) -> None:
    with pytest.raises(error) as caught:
        answer(scripted({"default": {"reply": "never", "fault": fault}}), ask())
    assert type(caught.value) is error
    assert caught.value.attempts == (3 if error.retryable else 1)


def test_a_hang_ends_at_the_attempt_timeout() -> None:
    client = scripted(
        {"default": {"fault": "hang"}},
        retry={"attempt_timeout_s": 0.02, "max_attempts": 2, "first_delay_s": 0.001},
    )
    with pytest.raises(LmTimeout) as caught:
        answer(client, ask())
    assert caught.value.attempts == 2


def test_a_passing_fault_is_retried_to_the_reply() -> None:
    reply = answer(scripted({"default": {"reply": "there", "fault": "500", "fault_attempts": 2}}), ask())
    assert (reply.text, reply.attempts) == ("there", 3)


def test_a_cut_off_reply_says_so() -> None:
    reply = answer(scripted({"default": {"reply": "abcdef", "fault": "length"}}), ask())
    assert (reply.text, reply.finish_reason) == ("abc", "length")


@pytest.mark.parametrize(
    "script",
    [
        {"rules": [{"when": {"colour": "red"}, "reply": ""}]},
        {"default": {"reply": "x", "fault": "explode"}},
        {"default": {"reply": "x", "latency_ms": -1}},
        {"rules": "all"},
        [],
    ],
)
def test_a_bad_script_is_refused_and_the_field_named(script: object) -> None:
    with pytest.raises(LmBadRequest, match="script cannot be used"):
        scripted(script)


def test_without_a_rule_the_call_and_the_model_are_named() -> None:
    with pytest.raises(LmUnknownModel, match="scripted:test has no rule for turn '0/1/0/turn/0' at depth 0"):
        answer(scripted({}), ask())


def test_a_scripted_model_cannot_wear_another_name() -> None:
    with pytest.raises(LmBadRequest, match="scripted:NAME"):
        build(ModelChoice("scripted", "gpt-5", extra={"script": {}}), "", Site())


def test_unknown_built_in_scripts_and_options_are_named() -> None:
    with pytest.raises(LmUnknownModel, match="there are tour, "):
        build(ModelChoice("scripted", "scripted:nothing"), "", Site())
    with pytest.raises(LmBadRequest, match="options of fan_out"):
        build(ModelChoice("scripted", "scripted:fan_out", extra={"options": {"calls": 0}}), "", Site())


def test_each_attempt_is_a_line_of_the_ledger(tmp_path: Path) -> None:
    script = {"ledger": "calls", "default": {"reply": "x", "fault": "500", "fault_attempts": 1}}
    choice = ModelChoice("scripted", "scripted:test", extra={"script": script, "retry": QUICK})
    client = build(choice, "", Site(ledger_dir=tmp_path))
    answer(client, ask(key="0/1/0/turn/0"))
    answer(client, ask(key="0/2/0/turn/0"))
    lines = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [line[1:] for line in lines] == [
        ["1", "turn", "'0/1/0/turn/0'"],
        ["2", "turn", "'0/1/0/turn/0'"],
        ["1", "turn", "'0/2/0/turn/0'"],
        ["2", "turn", "'0/2/0/turn/0'"],
    ]
    assert len({line[0] for line in lines}) == 4


@pytest.mark.parametrize("name", ["../calls", "/etc/passwd", "a/b", ".hidden"])
def test_a_ledger_cannot_leave_its_folder(name: str, tmp_path: Path) -> None:
    choice = ModelChoice("scripted", "scripted:test", extra={"script": {"ledger": name}})
    with pytest.raises(LmBadRequest, match="plain file name"):
        build(choice, "", Site(ledger_dir=tmp_path))


def test_no_ledger_where_the_installation_keeps_none() -> None:
    with pytest.raises(LmBadRequest, match="RLMWEB_SCRIPT_LEDGER_DIR"):
        scripted({"ledger": "calls"})
