"""Workers, runners and sandboxes die at any moment of a snapshot: what is on record is whole, and nothing else changes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import psutil
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from rlmweb.bench.outside import log_faults, wait_until
from runs.events.types import SnapshotFailed, SnapshotTaken
from runs.models import Event, Node, Session, Step
from runs.services.driver import StepDriver
from runs.services.execution import execute_step
from runs.services.snapshots import taking
from runs.services.snapshots.reading import snapshot_of, snapshots_of
from runs.services.snapshots.scratch import open_scratch
from runs.services.snapshots.storing import store_part
from runs.services.snapshots.taking import SnapshotTaker
from sandboxes import services as sandbox_services
from sandboxes.link import RunnerLink
from tests.factories import scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import ANSWER, log, rules, start, turn
from tests.runs.services.test_snapshots import events_of

pytestmark = pytest.mark.django_db(transaction=True)

CELLS = (
    "import random\nx = [random.random()]\nbig = random.randbytes(3_000_000)",
    "x.append(len(big))\ny = x",
    "y.append('third')\nopen('notes.txt', 'w').write('kept')",
)


def script(*, latency_ms: int = 0) -> dict[str, Any]:
    turns = [{**turn(number, code), "latency_ms": latency_ms} for number, code in enumerate(CELLS, start=1)]
    answer = turn(len(CELLS) + 1, ANSWER.format("(x[1:], y is x, open('notes.txt').read())"))
    return rules(*turns, {**answer, "latency_ms": latency_ms})


ANSWERED = "([3000000, 'third'], True, 'kept')"


class WorkerDied(BaseException):
    """Nothing in the product catches it."""


@contextmanager
def dying_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """The worker dies at the `moment`-th of the points where it can make a difference; whether it did."""
    points = count(1)
    died = []

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if next(points) == moment:
                died.append(moment)
                raise WorkerDied
            return result

        return call

    with monkeypatch.context() as patches:
        for owner, name in (
            *((SnapshotTaker, name) for name in ("take", "take_frame", "settle", "commit")),
            *((StepDriver, name) for name in ("_commit", "_committed")),
        ):
            patches.setattr(owner, name, wrapped(getattr(owner, name)))
        yield lambda: bool(died)


def go_on(session: Session) -> None:
    """Another worker, when the lease of the dead one has run out."""
    past = timezone.now() - timedelta(seconds=1)
    running = Step.objects.filter(session=session, status=Step.Status.RUNNING)
    running.update(lease_token=uuid4(), lease_expires_at=past)
    for uuid in running.values_list("uuid", flat=True):
        execute_step(uuid)


def check_whole(session: Session) -> None:
    """Each step has one snapshot, and each can be restored."""
    assert events_of(session, SnapshotFailed) == []
    assert [event.step for event in events_of(session, SnapshotTaken)] == [1, 2, 3, 4]
    assert [row.step_number for row in snapshots_of(session, 0)] == [1, 2, 3, 4]
    second, third = snapshot_of(session, 0, 2), snapshot_of(session, 0, 3)
    assert second is not None
    assert third is not None
    with open_scratch(second) as box:
        assert box.evaluate("x[1:], y is x, len(big)").value == "([3000000], True, 3000000)"
    with open_scratch(third) as box:
        assert box.evaluate("x[1:], open('notes.txt').read()").value == "([3000000, 'third'], 'kept')"


def test_a_worker_may_die_at_any_moment_of_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = 0
    for moment in count(1, 2):
        session = start(scripted_config(script()))
        with dying_at(moment, monkeypatch) as died:
            with suppress(WorkerDied):
                run_to_end(session)
            happened = died()
        if not happened:
            break
        moments += 1
        go_on(session)
        run_to_end(session)
        assert session.answer == ANSWERED, f"died at {moment}: {session.error_message}"
        assert log_faults(log(session)) == []
        check_whole(session)
    assert moments > 10


def test_a_request_that_never_left_a_worker_that_died_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is on record, its snapshot was not asked for: the next worker asks before it runs anything."""
    session = start(scripted_config(script()))
    lost: list[str] = []
    asks, commits = RunnerLink.snapshot, StepDriver._committed

    def ask(link: RunnerLink, id: str, **options: bool) -> None:
        if id == "step-3" and not lost:
            lost.append(id)
        else:
            asks(link, id, **options)

    def committed(driver: StepDriver, *args: Any) -> Any:
        result = commits(driver, *args)
        if lost and len(lost) == 1:
            lost.append("worker")
            raise WorkerDied
        return result

    with monkeypatch.context() as patches:
        patches.setattr(RunnerLink, "snapshot", ask)
        patches.setattr(StepDriver, "_committed", committed)
        with pytest.raises(WorkerDied):
            run_to_end(session)
    assert lost == ["step-3", "worker"]
    go_on(session)
    run_to_end(session)
    assert session.answer == ANSWERED
    check_whole(session)


def test_a_worker_that_dies_while_a_large_last_snapshot_is_stored_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More parts than the runner sends unacknowledged: the node's end is committed in two halves."""
    code = "import random\nparts = [random.randbytes(7_000_000) for _ in range(7)]\n" + ANSWER.format("len(parts)")
    undisturbed = run_to_end(start(scripted_config(rules(turn(1, code)))))
    assert [event.step for event in events_of(undisturbed, SnapshotTaken)] == [1]
    for moment in (14, 20, 26):
        session = start(scripted_config(rules(turn(1, code))))
        with dying_at(moment, monkeypatch) as died:
            with pytest.raises(WorkerDied):
                run_to_end(session)
            assert died()
        go_on(session)
        run_to_end(session)
        assert session.answer == "7"
        types = [event["type"] for event in log(session)]
        assert types.count("step.finished") == types.count("cell.finished") == types.count("snapshot.taken") == 1
        assert types.count("cell.output") == [event["type"] for event in log(undisturbed)].count("cell.output")


def runner_processes(session: Session) -> list[psutil.Process]:
    """Those of the sandbox of the root, found by the service's process tree."""
    services = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(settings.LOCAL_SANDBOX_SOCKET) in (process.info["cmdline"] or [])
    ]
    return [
        child
        for service in services
        for child in service.children(recursive=True)
        if any("runner.pyc" in word for word in child.cmdline())
    ]


@pytest.mark.parametrize("delay_ms", [0, 5, 10, 20, 40, 80, 160])
def test_a_runner_may_be_killed_at_any_moment_of_a_snapshot(delay_ms: int) -> None:
    """The sandbox ends with it; another one is brought to the same state, and takes what was not stored again."""
    session = start(scripted_config(script(latency_ms=200)))
    killed = []

    def kill() -> None:
        finished = Event.objects.filter(session=session, type="cell.finished")
        wait_until("the second cell", lambda: finished.count() >= 2, 30)
        threading.Event().wait(delay_ms / 1000)
        for process in runner_processes(session):
            try:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
            except ProcessLookupError:
                continue
        connection.close()

    killer = threading.Thread(target=kill)
    killer.start()
    run_to_end(session)
    killer.join()
    assert killed
    assert session.answer == ANSWERED, session.error_message
    assert "rebuilt" in [event["state"] for event in log(session) if event["type"] == "node.sandbox"]
    assert log_faults(log(session)) == []
    known = {event.step for event in (*events_of(session, SnapshotTaken), *events_of(session, SnapshotFailed))}
    assert known == {1, 2, 3, 4}
    for row in snapshots_of(session, 0):
        with open_scratch(row) as box:
            assert box.evaluate("len(x), len(big)").value == f"({min(row.step_number, 3)}, 3000000)"


def test_a_snapshot_that_was_lost_with_its_sandbox_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts do not arrive before the sandbox is gone."""
    lost: list[str] = []

    def lose_first(sandbox: Any, part: Any, *args: Any) -> Any:
        if part.id == "step-2" and not lost:
            lost.append(part.id)
            sandbox_services.terminate([Node.objects.get(session=session).sandbox_ref])
        return store_part(sandbox, part, *args)

    monkeypatch.setattr(taking, "store_part", lose_first)
    session = start(scripted_config(script(latency_ms=300)))
    run_to_end(session)
    assert lost
    assert session.answer == ANSWERED, session.error_message
    check_whole(session)
