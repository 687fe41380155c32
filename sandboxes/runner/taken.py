"""One snapshot as the supervisor knows it, from the request on."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.forkline import ForkLine


PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Taken:
    def __init__(self, id: str, number: int, generation: int, *, live: bool, durable: bool) -> None:
        self.id = id
        self.number = number
        self.generation = generation
        """Which REPL process it is of."""
        self.live = live
        self.durable = durable
        self.line: ForkLine | None = None
        """To the parked copy."""
        self.parked = False
        self.full = False
        """It goes on from no other, and nothing counts as sent."""
        self.asked_at = time.monotonic()
        self.reply: dict[str, Any] | None = None
        """The `snapshot_taken` that was sent."""
        self.result: dict[str, Any] | None = None
        """The `snapshot_done` that was sent."""
        self.exclude: dict[str, list[str]] = {}
        """Variables that ended a writer: name to [id of this snapshot, reason]."""
        self.parts = 0
        self.own_bytes = 0
        """Memory that would be free without the copy, when it was last looked at."""

    @property
    def pending(self) -> bool:
        return self.durable and self.result is None

    @property
    def status(self) -> str:
        """As in `state.snapshots`."""
        if self.reply is None:
            return "taking"
        if self.result is None:
            return "writing" if self.durable else "taken"
        return "failed" if self.result.get("error") else "done"

    @property
    def folder(self) -> str:
        """For copies of files, relative to the workspace."""
        return f".rlm/keep/{self.number}"

    def measure(self, with_repl_bytes: int) -> None:
        """Look at the copy's memory. `with_repl_bytes`: its share of what the REPL holds as well."""
        if self.line and self.line.pid:
            self.own_bytes = max(0, memory_of(self.line.pid)[1] - with_repl_bytes)


def memory_of(pid: int) -> tuple[int, int]:
    """(resident bytes, the same with shared pages divided among those who share them) of a process."""
    sizes = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith((b"Rss:", b"Pss:")):
                    sizes[line[:3]] = int(line.split()[1]) * 1024
    except OSError:
        pass  # ended, or no /proc in this sandbox: then the number of copies alone is limited
    return sizes.get(b"Rss", 0), sizes.get(b"Pss", 0)


def memory_counters(pid: int) -> tuple[int, int]:
    """(page faults that needed no disk, resident bytes) of a process, from counters that the kernel has at hand."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        return int(fields[7]), int(fields[21]) * PAGE_BYTES
    except OSError:
        return 0, 0  # ended, or no /proc: see `memory_of`


class Base:
    """What the next snapshot is compared with: the newest that is complete."""

    def __init__(self, snapshot: Taken, result: int, start: int) -> None:
        self.generation = snapshot.generation
        self.id = snapshot.id
        self.result = result
        """Memory that its writer filled; what is meant for the next one begins at `start`."""
        self.start = start

    def close(self) -> None:
        os.close(self.result)
