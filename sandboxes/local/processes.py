"""Look at processes through /proc."""

from __future__ import annotations

import contextlib
import os
import signal

MOST_OOM_SCORE = 1000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on, what loses its parent below this process becomes its child, and not init's."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class OrphanReaper:
    """Ends and collects processes that outlived the sandbox or the command they came from."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def run(self, known: set[int]) -> None:
        """`known` children are somebody's. Another one is ended when it is met a second time: it may be so new that
        its owner has not noted it yet."""
        strangers = set(children(os.getpid())) - known
        for pid in strangers & self._seen:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        self._seen = strangers


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as stream:
                found += map(int, stream.read().split())
    except OSError:
        return found  # it ended while we looked
    return found


def process_tree(pid: int) -> list[int]:
    """`pid` and everything that descends from it. What lost its parent hangs below the sandbox's first process."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        queue += children(current)
    return found


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of the processes; shared pages count once for each (RSS)."""
    return sum(_rss_bytes(pid) for pid in pids)


def proportional_bytes(pids: list[int]) -> int:
    """Memory of the processes, shared pages divided among them (PSS)."""
    return sum(_pss_bytes(pid) for pid in pids)


def goes_first(pid: int) -> bool:
    """Whether the process offered itself to be ended first when memory runs out, as parked copies do."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "rb") as stream:
            return int(stream.read()) == MOST_OOM_SCORE
    except (OSError, ValueError):
        return False  # ended


def _rss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            return int(stream.read().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0  # ended


def _pss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0  # ended, or a kernel process
    return 0
