"""However a session ends, each of its steps has a snapshot or the log says why not."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import connection

from rlmweb.bench.outside import wait_until
from runs.access import Actor
from runs.engine.limits import Limits
from runs.events.types import SnapshotFailed, SnapshotTaken
from runs.models import Event, Session, Step
from runs.services.sessions import start_session, stop_session
from runs.services.snapshots import taking
from runs.services.snapshots.reading import snapshots_of
from runs.services.snapshots.scratch import open_scratch
from runs.services.snapshots.storing import store_part
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import events_of, run_cells

pytestmark = pytest.mark.django_db(transaction=True)
CELLS = ["x = [1]", "big = __import__('random').randbytes(9_000_000)", "x.append(big)", "import time\ntime.sleep(60)"]


def start(**options: Any) -> Session:
    replies = [f"```repl\n{cell}\n```" for cell in CELLS]
    rules = [
        {"when": {"kind": "turn", "depth": 0, "step": number}, "reply": reply}
        for number, reply in enumerate(replies, 1)
    ]
    team = make_team()
    return start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="?",
        context=make_context(team, "text"),
        config=scripted_config({"rules": rules, "default": {"reply": "?"}}, **options),
    )


def run_and_stop_when(session: Session, condition: Any) -> None:
    """Run the session here and stop it from another thread, like the button does."""

    def stop() -> None:
        try:
            wait_until("the moment to stop", condition, 60)
            stop_session(session, actor=Actor(session.created_by, "test"))
        finally:
            connection.close()

    stopper = threading.Thread(target=stop)
    stopper.start()
    run_to_end(session)
    stopper.join()


def begun(session: Session) -> set[int]:
    return set(Step.objects.filter(session=session, started_at__isnull=False).values_list("number", flat=True))


def accounted(session: Session) -> list[int]:
    """By step, each once for every word about it: a step with two is as wrong as one with none."""
    return sorted(event.step for event in (*events_of(session, SnapshotTaken), *events_of(session, SnapshotFailed)))


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_session_may_be_stopped_at_any_step(step: int) -> None:
    session = start()
    started = Event.objects.filter(session=session, type="cell.started")
    run_and_stop_when(session, lambda: started.count() >= step)
    assert session.status == "stopped"
    assert accounted(session) == sorted(begun(session))
    failed = {event.step: event.reason for event in events_of(session, SnapshotFailed)}
    assert failed[max(begun(session))] == "its node was stopped before it was stored"
    for row in snapshots_of(session, 0):
        with open_scratch(row) as box:
            assert box.evaluate("x[0]").value == "1"


def test_what_is_on_its_way_when_the_session_is_stopped_ends_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are never stored: the worker of the step before asked for them, and the stop comes in between."""
    stuck = threading.Event()

    def slowly(sandbox: Any, part: Any, *args: Any) -> Any:
        if part.id == "step-2":
            stuck.set()
            return Future()
        return store_part(sandbox, part, *args)

    monkeypatch.setattr(taking, "store_part", slowly)
    session = start()
    run_and_stop_when(session, stuck.is_set)
    assert accounted(session) == sorted(begun(session))
    assert 2 in {event.step for event in events_of(session, SnapshotFailed)}
    assert 2 not in {row.step_number for row in snapshots_of(session, 0)}
    seqs = [json.loads(row.data)["type"] for row in Event.objects.filter(session=session).order_by("seq")]
    assert seqs.index("snapshot.failed") < seqs.index("node.finished")


def test_a_limit_that_ends_a_node_during_a_cell_accounts_for_the_steps_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "store_part", lambda *_: Future())
    session = run_to_end(start(limits=Limits(max_wall_s=4)))
    assert session.status == "limited"
    assert accounted(session) == sorted(begun(session))


def test_policies_say_which_steps_are_asked_about() -> None:
    for policy, expected in (("off", []), ("last", [3])):
        session = run_cells("x = 1", "y = 2", snapshots=policy)
        assert accounted(session) == expected
    session = start(snapshots="last")
    started = Event.objects.filter(session=session, type="cell.started")
    run_and_stop_when(session, lambda: started.count() >= 3)
    assert accounted(session) == [max(begun(session))]
