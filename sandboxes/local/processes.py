"""Look at processes through /proc."""

from __future__ import annotations

import os

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


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
