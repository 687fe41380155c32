"""How often somebody may try to open links: a bucket for each address and each link, in this process's memory.

A guess has one chance in 2^256 anyway; this keeps guessing passwords slow and the log readable.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

PER_MINUTE = 20
MAX_BUCKETS = 100_000


class Attempts:
    """`per_minute` at once, and as many each minute."""

    def __init__(self, per_minute: int = PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def allow(self, *keys: str) -> bool:
        """One attempt under all of `keys`; False when one of them has none left."""
        now = self._clock()
        with self._lock:
            left = {key: self._left(key, now) for key in keys}
            allowed = min(left.values()) >= 1
            for key, tokens in left.items():
                self._buckets[key] = (tokens - allowed, now)
                self._buckets.move_to_end(key)
            while len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return allowed

    def _left(self, key: str, now: float) -> float:
        tokens, at = self._buckets.get(key, (float(self._per_minute), now))
        return min(float(self._per_minute), tokens + (now - at) * self._per_minute / 60)


attempts = Attempts()
