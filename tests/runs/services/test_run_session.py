"""Whole sessions over the real local sandbox service and PostgreSQL, with scripted models; only the broker is missing."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.db import connection

from rlmweb.bench.outside import log_faults, wait_until
from runs.access import Actor
from runs.engine.limits import Limits
from runs.events.types import wire_text
from runs.models import Event, LmCall, Node, Session, Step
from runs.services.config import SessionConfig
from runs.services.noderun import NodeRun
from runs.services.sessions import start_session, stop_session
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)


def rules(*rules: dict[str, Any], default: str = "?") -> dict[str, Any]:
    return {"rules": list(rules), "default": {"reply": default}}


def turn(step: int, code: str, **when: Any) -> dict[str, Any]:
    return {"when": {"kind": "turn", "step": step, **when}, "reply": f"```repl\n{code}\n```"}


def start(config: SessionConfig, text: str = "alpha\nbeta\ngamma\n") -> Session:
    team = make_team()
    user = make_user(team)
    context = make_context(team, text)
    return start_session(actor=Actor(user, "test"), team=team, question="How many?", context=context, config=config)


def log(session: Session) -> list[dict[str, Any]]:
    rows = Event.objects.filter(session=session).order_by("seq")
    return [json.loads(wire_text(row.seq, row.at_ms, row.data)) for row in rows]


ANSWER = 'answer["content"] = str({}); answer["ready"] = True'


def test_a_session_reads_its_context_and_answers() -> None:
    script = rules(turn(1, "print(len(context.splitlines()))"), turn(2, ANSWER.format("len(context.splitlines())")))
    session = run_to_end(start(scripted_config(script)))
    assert (session.status, session.answer) == ("finished", "3")
    events = log(session)
    assert log_faults(events) == []
    outputs = [event["text"] for event in events if event["type"] == "cell.output"]
    assert outputs == ["3\n"]
    session.meter.refresh_from_db()
    assert (session.meter.steps, session.meter.lm_calls, session.meter.lm_calls_reserved) == (2, 2, 0)
    assert session.meter.tokens_reserved == 0


def test_leaf_calls_are_journalled_and_answered_in_order() -> None:
    code = "replies = llm_query_batched([f'item {n}' for n in range(50)])\n" + ANSWER.format("sum(map(int, replies))")
    script = rules({"when": {"kind": "leaf"}, "reply": "{index}", "latency_ms": 5}, turn(1, code))
    session = run_to_end(start(scripted_config(script)))
    assert session.answer == str(sum(range(50)))
    assert LmCall.objects.filter(session=session, kind="leaf", status="finished").count() == 50
    assert log_faults(log(session)) == []


def test_children_are_nodes_of_their_own_and_the_parent_waits_without_a_worker() -> None:
    code = "replies = rlm_query_batched(['one', 'two words', 'three words here'])\n"
    code += ANSWER.format("'+'.join(replies)")
    script = rules(
        turn(1, code, depth=0),
        turn(1, ANSWER.format("len(context.split())"), depth=1),
    )
    session = run_to_end(start(scripted_config(script, limits=Limits(max_depth=2))))
    assert session.answer == "1+2+3"
    assert Node.objects.filter(session=session, status="finished").count() == 4
    types = [event["type"] for event in log(session)]
    assert types.count("step.waiting") >= 1
    assert types.count("step.resumed") >= 1
    assert log_faults(log(session)) == []


def test_variables_live_from_step_to_step_and_errors_are_shown_to_the_model() -> None:
    script = rules(
        turn(1, "x = 20\nprint(undefined)"),
        {
            "when": {"kind": "turn", "step": 2, "contains": "NameError"},
            "reply": f"```repl\n{ANSWER.format('x + 1')}\n```",
        },
    )
    session = run_to_end(start(scripted_config(script)))
    assert session.answer == "21"
    finished = [event for event in log(session) if event["type"] == "cell.finished"]
    assert finished[0]["error"]["type"] == "NameError"


def test_a_limit_of_the_whole_tree_ends_the_session_with_the_partial_answer() -> None:
    code = 'answer["content"] = "so far"\nprint(1)'
    script = rules(*(turn(n, code) for n in range(1, 9)))
    session = run_to_end(start(scripted_config(script, limits=Limits(max_lm_calls=3))))
    assert (session.status, session.answer, session.answer_partial) == ("limited", "so far", True)
    hit = next(event for event in log(session) if event["type"] == "limit.hit")
    assert (hit["limit"], hit["allowed"]) == ("max_lm_calls", 3)
    assert LmCall.objects.filter(session=session).count() == 3


def test_parallel_calls_cannot_overspend_together() -> None:
    code = "replies = llm_query_batched(['x'] * 40)\n" + ANSWER.format("len(replies)")
    script = rules({"when": {"kind": "leaf"}, "reply": "y", "latency_ms": 20}, turn(1, code))
    session = run_to_end(start(scripted_config(script, limits=Limits(max_lm_calls=10))))
    assert session.status == "limited"
    assert LmCall.objects.filter(session=session).count() <= 10
    session.meter.refresh_from_db()
    assert (session.meter.lm_calls_reserved, session.meter.tokens_reserved) == (0, 0)


def test_out_of_turns_asks_once_more_for_an_answer() -> None:
    script = rules({"when": {"kind": "final"}, "reply": "about three"}, default="```repl\nprint(1)\n```")
    session = run_to_end(start(scripted_config(script, limits=Limits(max_steps_per_node=2))))
    assert (session.status, session.answer, session.answer_partial) == ("limited", "about three", True)


def test_a_model_that_fails_for_good_fails_the_session_with_its_error() -> None:
    script = rules({"when": {"kind": "turn"}, "fault": "401"})
    session = run_to_end(start(scripted_config(script)))
    assert (session.status, session.error_type) == ("failed", "LmAuthFailed")
    assert log_faults(log(session)) == []


def test_a_failed_leaf_is_an_error_text_for_the_code() -> None:
    script = rules(
        {"when": {"kind": "leaf"}, "fault": "400"}, turn(1, ANSWER.format("llm_query('x').startswith('Error:')"))
    )
    assert run_to_end(start(scripted_config(script))).answer == "True"


def test_stopping_is_idempotent_and_leaves_nothing_running() -> None:
    session = start(scripted_config(rules(turn(1, "print(1)"))))
    actor = Actor(session.created_by, "test")
    assert stop_session(session, actor=actor) is True
    assert stop_session(session, actor=actor) is False
    session.refresh_from_db()
    assert session.status == "stopped"
    assert not Step.objects.filter(session=session, status__in=("ready", "running", "waiting")).exists()
    assert log_faults(log(session)) == []


def test_the_cell_that_never_ends_is_stopped_and_the_session_goes_on() -> None:
    script = rules(turn(1, "while True: pass"), turn(2, ANSWER.format("'went on'")))
    session = run_to_end(start(scripted_config(script, limits=Limits(cell_timeout_s=1))))
    assert session.answer == "went on"
    finished = next(event for event in log(session) if event["type"] == "cell.finished")
    assert finished["status"] == "timeout"


def test_the_tour_comes_to_a_right_answer() -> None:
    session = run_to_end(start(scripted_config("tour"), text="import os\n\nclass A:\n    pass\n" * 400))
    assert session.status == "finished"
    assert log_faults(log(session)) == []


def test_a_session_stopped_before_any_answer_shows_its_latest_words() -> None:
    reply = "The file looks like a list of letters.\n```repl\nprint(1)\n```"
    script = rules({"when": {"kind": "turn", "step": 1}, "reply": reply}, {"when": {"kind": "turn"}, "fault": "hang"})
    session = start(scripted_config(script))
    actor = Actor(session.created_by, "test")

    def stop_in_second_turn() -> None:
        asked = Event.objects.filter(session=session, type="lm.started")
        wait_until("the second turn", lambda: asked.count() == 2, 30)
        stop_session(session, actor=actor)
        connection.close()

    stopper = threading.Thread(target=stop_in_second_turn)
    stopper.start()
    run_to_end(session)
    stopper.join()
    assert (session.status, session.answer_partial) == ("stopped", True)
    assert session.answer == "The file looks like a list of letters."


def test_a_sandbox_lives_as_long_as_its_session_may() -> None:
    session = start(scripted_config(rules(turn(1, "1")), limits=Limits(max_wall_s=7200)))
    box = NodeRun(Node.objects.get(session=session)).box
    spec = box.spec()
    assert spec.idle_s >= 7200
    assert spec.lifetime_s >= 7200
