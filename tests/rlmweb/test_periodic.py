from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis

from rlmweb.periodic import Clock, alone
from tests.installations import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def run_clock(jobs: dict[str, tuple[float, Callable[[], object]]], until: Callable[[], object]) -> None:
    clock = Clock(jobs)
    clock.start()
    try:
        wait_for(until, "the jobs", timeout_s=20)
    finally:
        clock.stop()
    assert not clock.is_alive()


def test_a_job_that_fails_stops_neither_itself_nor_the_others() -> None:
    calls = {"broken": 0, "lost": 0, "fine": 0}

    def count(name: str, error: Exception | None = None) -> Callable[[], None]:
        def job() -> None:
            calls[name] += 1
            if error is not None:
                raise error

        return job

    jobs: dict[str, tuple[float, Callable[[], object]]] = {
        "broken": (0.01, count("broken", RuntimeError("a bug"))),
        "lost": (0.01, count("lost", redis.ConnectionError("gone"))),
        "fine": (0.01, count("fine")),
    }
    run_clock(jobs, lambda: min(calls.values()) >= 3)


def test_two_workers_never_do_the_same_job_at_the_same_time() -> None:
    inside, most, done = 0, 0, 0
    entered, may_leave, guard = threading.Event(), threading.Event(), threading.Lock()

    def job() -> None:
        nonlocal inside, most, done
        with guard:
            inside += 1
            most = max(most, inside)
        entered.set()
        may_leave.wait(10)
        with guard:
            inside -= 1
            done += 1

    first = threading.Thread(target=alone("job", job))
    first.start()
    assert entered.wait(10)
    alone("job", job)()  # skipped: returns although nobody may leave yet
    assert done == 0
    may_leave.set()
    first.join(10)
    alone("job", job)()  # the lock is free again
    assert (most, done) == (1, 2)


def test_the_lock_is_free_again_after_a_failure() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        alone("job", fail)()
    assert alone("job", lambda: "done")() == "done"
