"""One snapshot as the supervisor knows it, from the request on."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.forkline import ForkLine


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
        self.asked_at = time.monotonic()
        self.reply: dict[str, Any] | None = None
        """The `snapshot_taken` that was sent."""
        self.result: dict[str, Any] | None = None
        """The `snapshot_done` that was sent."""
        self.exclude: dict[str, list[str]] = {}
        """Variables that ended a writer: name to [id of this snapshot, reason]."""
        self.parts = 0
        self.pss_bytes = 0
        """Memory of the copy when it was last looked at."""

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

    def measure(self) -> int:
        """Look at the copy's memory, shared pages divided among those who share them (PSS)."""
        if self.line and self.line.pid:
            self.pss_bytes = _pss_bytes(self.line.pid)
        return self.pss_bytes


def _pss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # ended, or no /proc in this sandbox: then the number of copies alone is limited
    return 0


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
