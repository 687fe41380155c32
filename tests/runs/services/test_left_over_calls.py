"""Sub-calls that nobody waits for any more, and those of a cell whose sandbox was lost: paid once, taken for no other."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from rlmweb.bench.outside import log_faults, wait_until
from runs.engine.limits import Limits
from runs.models import Event, LmCall, Node, Session
from sandboxes import services as sandbox_services
from tests.factories import scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import ANSWER, log, rules, start, turn

pytestmark = pytest.mark.django_db(transaction=True)

LEAVES_THREADS = """
import threading
for n in range({threads}):
    threading.Thread(target={function}, args=(f"left {{n}}",)).start()
while len([t for t in threading.enumerate() if t.is_alive()]) < {threads}: pass
print(llm_query("kept"))
"""
KEPT = {"when": {"kind": "leaf", "contains": "kept"}, "reply": "KEPT", "latency_ms": 200}


def lose_sandbox_when(session: Session, kind: str, least: int) -> threading.Thread:
    """End the root's sandbox once there are so many events of a kind."""

    def end_it() -> None:
        events = Event.objects.filter(session=session, type=kind)
        wait_until(f"{least} times {kind}", lambda: events.count() >= least, 30)
        sandbox_services.terminate([Node.objects.get(session=session, number=0).sandbox_ref])
        connection.close()

    thread = threading.Thread(target=end_it)
    thread.start()
    return thread


def test_an_answer_that_comes_after_its_cell_is_not_taken_for_that_of_a_later_call() -> None:
    # Both calls are `c1` of a first cell, and the first one is answered while the second is out.
    first = "import threading\nthreading.Thread(target=llm_query, args=('first',)).start()\nprint(1)"
    script = rules(
        {"when": {"kind": "leaf", "contains": "first"}, "reply": "FIRST", "latency_ms": 600},
        {"when": {"kind": "leaf", "contains": "second"}, "reply": "SECOND", "latency_ms": 1500},
        turn(1, first),
        turn(2, ANSWER.format("llm_query('second')")),
    )
    session = run_to_end(start(scripted_config(script)))
    assert (session.status, session.answer) == ("finished", "SECOND")
    assert log_faults(log(session)) == []


def test_calls_that_a_cell_did_not_wait_for_are_given_up_counted_and_never_begun_later() -> None:
    hanging = {"when": {"kind": "leaf"}, "reply": "late", "latency_ms": 600_000}
    code = LEAVES_THREADS.format(threads=20, function="llm_query")
    session = start(scripted_config(rules(KEPT, hanging, turn(1, code), turn(2, ANSWER.format("'on'")))))
    run_to_end(session)
    assert (session.status, session.answer) == ("finished", "on")
    events = log(session)
    assert log_faults(events) == []
    over = next(n for n, event in enumerate(events) if event["type"] == "cell.finished")
    assert [event for event in events[over:] if event["type"] == "lm.started" and event["kind"] == "leaf"] == []
    leaves = LmCall.objects.filter(session=session, kind="leaf")
    assert leaves.filter(status="finished").count() == 1
    assert leaves.filter(status="abandoned").count() == leaves.count() - 1 > 0
    session.meter.refresh_from_db()
    meter = session.meter
    assert meter.lm_calls == LmCall.objects.filter(session=session).count()
    assert (meter.lm_calls_reserved, meter.tokens_reserved, meter.cost_reserved_micro_usd) == (0, 0, 0)


def test_children_that_a_cell_did_not_wait_for_are_stopped_with_it() -> None:
    slow = {"when": {"kind": "turn", "min_depth": 1}, "reply": "?", "latency_ms": 600_000}
    slow_start = {**KEPT, "latency_ms": 1000}
    code = LEAVES_THREADS.format(threads=3, function="rlm_query")
    script = rules(slow_start, slow, turn(1, code), turn(2, ANSWER.format("'on'")))
    session = run_to_end(start(scripted_config(script, limits=Limits(max_depth=2))))
    assert (session.status, session.answer) == ("finished", "on")
    assert set(Node.objects.filter(session=session, depth=1).values_list("status", flat=True)) == {"stopped"}
    events = log(session)
    assert log_faults(events) == []
    ended = [n for n, event in enumerate(events) if event["type"] == "node.finished" and event["node"] > 0]
    second = next(n for n, event in enumerate(events) if event["type"] == "step.started" and event["step"] == 2)
    assert len(ended) == 3
    assert max(ended) < second


def test_a_cell_that_begins_again_in_a_new_sandbox_pays_for_no_answer_twice() -> None:
    code = "one = llm_query('one')\ntwo = llm_query('two')\n" + ANSWER.format("one + two")
    script = rules(
        {"when": {"kind": "leaf", "contains": "one"}, "reply": "ONE"},
        {"when": {"kind": "leaf", "contains": "two"}, "reply": "TWO", "latency_ms": 2000},
        turn(1, code),
    )
    session = start(scripted_config(script))
    killer = lose_sandbox_when(session, "lm.started", 3)
    run_to_end(session)
    killer.join()
    assert (session.status, session.answer) == ("finished", "ONETWO")
    calls = LmCall.objects.filter(session=session, kind="leaf").order_by("number")
    # The second call was out when the sandbox went; it may have reached the model twice, and says so.
    assert [(call.subcall, call.status, call.maybe_repeated) for call in calls] == [
        ("c1", "finished", False),
        ("c2", "finished", True),
    ]
    assert log_faults(log(session)) == []


def test_a_lost_sandbox_is_rebuilt_past_cells_with_left_over_calls_and_past_endless_ones() -> None:
    hanging = {"when": {"kind": "leaf"}, "reply": "late", "latency_ms": 600_000}
    script = rules(
        KEPT,
        hanging,
        turn(1, "kept = 5\n" + LEAVES_THREADS.format(threads=5, function="llm_query")),
        turn(2, "while True: pass"),
        {**turn(3, ANSWER.format("kept")), "latency_ms": 1500},
    )
    session = start(scripted_config(script, limits=Limits(cell_timeout_s=1)))
    killer = lose_sandbox_when(session, "step.finished", 2)
    run_to_end(session)
    killer.join()
    assert (session.status, session.answer) == ("finished", "5")
    states = [event["state"] for event in log(session) if event["type"] == "node.sandbox"]
    assert states == ["ready", "lost", "rebuilt", "ended"]
    assert log_faults(log(session)) == []


POOL = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    plain = list(pool.map(llm_query, [f"leaf {n % 20}" for n in range(40)]))
    deep = list(pool.map(rlm_query, [f"child {n}" for n in range(8)]))
"""


def test_a_lost_sandbox_is_rebuilt_past_calls_that_threads_make_in_another_order() -> None:
    right = "plain == [f'leaf {n % 20}' for n in range(40)] and deep == [f'child {n}' for n in range(8)]"
    script = rules(
        {"when": {"kind": "leaf"}, "reply": "{prompt}", "jitter_ms": 20},
        {"when": {"kind": "turn", "min_depth": 1}, "reply": f"```repl\n{ANSWER.format('context')}\n```"},
        turn(1, POOL),
        {**turn(2, ANSWER.format(right)), "latency_ms": 1500},
    )
    session = start(scripted_config(script, limits=Limits(max_depth=2)))
    killer = lose_sandbox_when(session, "step.finished", 9)
    run_to_end(session)
    killer.join()
    assert (session.status, session.answer) == ("finished", "True")
    lost = [event["node"] for event in log(session) if event["type"] == "node.sandbox" and event["state"] == "lost"]
    assert lost == [0]
    assert LmCall.objects.filter(session=session, kind="leaf").count() == 40
    assert log_faults(log(session)) == []
