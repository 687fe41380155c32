"""Runs sessions without a broker: steps that are due are executed here, one after another, like one worker slot would."""

from __future__ import annotations

import time
from collections.abc import Callable

from runs.models import Session, Step
from runs.services.execution import execute_step


def run_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Execute ready steps until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        for uuid in Step.objects.filter(status=Step.Status.READY).order_by("pk").values_list("uuid", flat=True):
            execute_step(uuid)


def run_to_end(session: Session, timeout_s: float = 60) -> Session:
    def over() -> bool:
        session.refresh_from_db()
        return session.status != Session.Status.RUNNING

    run_until(over, timeout_s)
    return session
