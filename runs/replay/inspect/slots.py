"""How many sandboxes people may keep busy with looking: at once and per minute, for each of them and for the process."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from runs.replay.inspect.errors import TooManyEvaluations

AT_ONCE_PER_USER = 2
AT_ONCE = 8
PER_MINUTE = 60
WINDOW_S = 60.0


class Slots:
    """Counts in memory: another web process counts for itself, so the bound of an installation is a multiple."""

    def __init__(
        self,
        *,
        per_user: int = AT_ONCE_PER_USER,
        in_all: int = AT_ONCE,
        per_minute: int = PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_user, self.in_all, self.per_minute = per_user, in_all, per_minute
        self._clock = clock
        self._lock = Lock()
        self._running: Counter[int] = Counter()
        self._starts: defaultdict[int, deque[float]] = defaultdict(deque)

    @contextmanager
    def taken(self, user_pk: int) -> Iterator[None]:
        """Hold one slot. Raises `TooManyEvaluations`."""
        with self._lock:
            self._take(user_pk)
        try:
            yield
        finally:
            with self._lock:
                self._running[user_pk] -= 1
                if not self._running[user_pk]:
                    del self._running[user_pk]

    def _take(self, user_pk: int) -> None:
        if self._running[user_pk] >= self.per_user:
            raise TooManyEvaluations(f"You have {self.per_user} running already, which is the most at once.", 5)
        if self._running.total() >= self.in_all:
            raise TooManyEvaluations(f"{self.in_all} people's evaluations are running, which is the most at once.", 5)
        now, starts = self._clock(), self._starts[user_pk]
        while starts and starts[0] <= now - WINDOW_S:
            starts.popleft()
        if len(starts) >= self.per_minute:
            wait_s = int(starts[0] + WINDOW_S - now) + 1
            raise TooManyEvaluations(f"{self.per_minute} in one minute are the most.", wait_s)
        starts.append(now)
        self._running[user_pk] += 1


slots = Slots()
"""Of this process."""
