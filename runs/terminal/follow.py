"""Reads the events of a session from the database as they are committed, until its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from django.utils import timezone

from runs.events.read import PAGE_EVENTS, last_seq, read_lines
from runs.models import Session, Step

POLL_S = 0.15
UNCLAIMED_AFTER_S = 5.0


def batches(session: Session, wake: threading.Event) -> Iterator[list[str]]:
    """Wire texts in order, and an empty list whenever nothing new has come for a moment. Ends with the session.

    `wake` cuts the pause short, so that somebody who asked for a stop sees it at once.
    """
    after = 0
    while True:
        # Asked before the events are read: what was committed before the end is then surely among them.
        over = not Session.objects.filter(pk=session.pk, status=Session.Status.RUNNING).exists()
        lines = read_lines(session.pk, after)
        if lines:
            after = lines[-1].seq
        yield [line.text for line in lines]
        if over and len(lines) < PAGE_EVENTS and after >= last_seq(session.pk):
            return
        if not lines:
            wake.wait(POLL_S)
            wake.clear()


def waits_for_a_worker(session: Session) -> bool:
    """Has nobody taken the first step for some time? Then there is probably no worker."""
    if (timezone.now() - session.created_at).total_seconds() < UNCLAIMED_AFTER_S:
        return False
    steps = Step.objects.filter(session=session)
    return steps.filter(status=Step.Status.READY, attempt=0, number=1).exists() and steps.count() == 1


class Stopwatch:
    """Lets something happen at most so often."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._due_s:
            return False
        self._due_s = now + self._every_s
        return True
