"""Progress lines with the seconds since the start, on a terminal that may have gone away."""

from __future__ import annotations

import contextlib
import sys
import time


class Progress:
    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def say(self, text: str) -> None:
        # A closed terminal is a reason to stop (SIGHUP says so), not to die halfway through stopping.
        with contextlib.suppress(OSError):
            print(f"[{time.monotonic() - self._started_s:6.1f} s] {text}", flush=True)

    def warn(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(f"rlmweb: {text}", file=sys.stderr, flush=True)
