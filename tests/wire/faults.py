"""Switches of a fake vendor: what goes wrong, at which operation, how often."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Operation = Literal[
    "create", "get", "list", "exec", "stream", "stdin", "read", "write", "snapshot", "restore", "delete", "terminate"
]


@dataclass(frozen=True)
class Fault:
    """Instead of its answer the operation has this `status`, or: `hang` (no answer), `reset` (the connection breaks before
    anything was done), `lose_reply` (it is done, and the answer is lost), `malformed` (an answer that is none)."""

    status: int = 0
    kind: Literal["status", "hang", "reset", "lose_reply", "malformed"] = "status"
    retry_after_s: float | None = None
    message: str = "injected by the test"


@dataclass
class Faults:
    """Front-ends ask `take(operation)` before they carry one out, and look at the flags where they apply."""

    drop_streams_at_snapshot: bool = False
    replay_stdin: bool = False
    """Every write to a process arrives twice."""
    snapshot_s: float = 0.0
    """How long a snapshot takes."""
    no_capacity: bool = False
    _queued: dict[str, deque[Fault]] = field(default_factory=dict)
    _droppers: list[Callable[[], None]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Operations, in order."""

    def add(self, operation: Operation, fault: Fault, times: int = 1) -> None:
        self._queued.setdefault(operation, deque()).extend([fault] * times)

    def take(self, operation: Operation) -> Fault | None:
        self.seen.append(operation)
        queued = self._queued.get(operation)
        return queued.popleft() if queued else None

    def on_drop(self, drop: Callable[[], None]) -> Callable[[], None]:
        """Register an open stream; call what this returns when it has ended."""
        self._droppers.append(drop)
        return lambda: self._droppers.remove(drop) if drop in self._droppers else None

    def drop_streams(self) -> int:
        """Break every open stream now; how many there were."""
        droppers, self._droppers = self._droppers, []
        for drop in droppers:
            drop()
        return len(droppers)

    async def before_snapshot(self) -> None:
        if self.drop_streams_at_snapshot:
            self.drop_streams()
        await asyncio.sleep(self.snapshot_s)
