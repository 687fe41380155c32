"""The supervisor's side of snapshots: take them, keep the parked copies within bounds, say what became of each."""

from __future__ import annotations

import os
import time

from sandboxes.runner.checks import Rejected, required_text
from sandboxes.runner.forkline import ForkLine
from sandboxes.runner.taken import PAGE_BYTES, Taken, memory_counters, memory_of
from sandboxes.runner.wire import clip
from sandboxes.runner.workspace import discard_aside
from sandboxes.runner.writing import COPY_ENDED, Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.options import Options
    from sandboxes.runner.process import ReplProcess
    from sandboxes.runner.watcher import Watcher
    from sandboxes.runner.wire import Spool

TAKE_S = 15.0
"""Most time to fork a copy; only code that hooks into forks needs more than a moment."""
MAX_PARKED = 100
KEPT_SNAPSHOTS = 256
"""Snapshots whose results can be asked for again."""
MEASURED_AT_ONCE = 3
"""Looking at a gigabyte takes some milliseconds."""
MEASURE_AT_SHARE = 32
"""Copies are measured when the REPL has moved as much memory as this part of their limit: unshared, taken or let go."""
UNLIMITED_COPIES_BYTES = 512 * 1024 * 1024
"""What parked copies may take where no memory limit is set."""


class Snapshots:
    def __init__(self, options: Options, log: FrameLog, spool: Spool, watcher: Watcher) -> None:
        self._workspace = options.workspace
        self._has_relay = options.relay == 1
        self._max_bytes = options.memory_mb * 1024 * 1024 // 4 or UNLIMITED_COPIES_BYTES
        self._log = log
        self._watcher = watcher
        self._all: dict[str, Taken] = {}
        self._coming: list[Taken] = []
        """Those whose copies have been asked for and do not park yet."""
        self._count = self._turn = self._repl_pid = 0
        self._generation = 0
        self._looked_at = (0, 0)
        self._measured_at: tuple[int, int] | None = None
        self._writing = Writing(options, log, spool, watcher, self._written)

    # Requests ---------------------------------------------------------------------------------------------------

    def request(self, frame: dict[str, Any], child: ReplProcess) -> None:
        id = required_text(frame["id"], 200)
        known = self._all.get(id)
        if known:
            for answer in (known.reply, known.result):
                if answer:
                    self._log.add(dict(answer))
            return
        self._count += 1
        live, durable = frame.get("live") is not False, frame.get("durable") is not False
        snapshot = self._all[id] = Taken(id, self._count, self._generation, live=live, durable=durable)
        self._coming.append(snapshot)
        line = snapshot.line = ForkLine()
        self._watcher.add(
            line, lambda message: self._from_copy(snapshot, message), lambda _: self._copy_ended(snapshot)
        )
        self._tell_relay()
        message = {
            "t": "snapshot",
            "n": snapshot.number,
            "id": id,
            "durable": durable,
            "folder": snapshot.folder,
        }
        snapshot.full = frame.get("full") is True
        base = self._writing.base
        if base and base.generation == self._generation:
            message["base"] = base.id
        self._repl_pid = child.pid
        child.send(message, [line.other_end()])
        line.let_go()
        self._forget()

    def _forget(self) -> None:
        for snapshot in list(self._all.values())[: max(0, len(self._all) - KEPT_SNAPSHOTS)]:
            if not snapshot.line and not snapshot.pending:
                del self._all[snapshot.id]

    def states(self) -> dict[str, str]:
        """For a new host: what became of each snapshot."""
        return {snapshot.id: snapshot.status for snapshot in self._all.values()}

    def find_live(self, id: str) -> ForkLine | None:
        snapshot = self._all.get(id)
        return snapshot.line if snapshot and snapshot.live else None

    # The REPL ---------------------------------------------------------------------------------------------------

    def taken(self, message: dict[str, Any]) -> None:
        """The REPL goes on. Raises `Rejected` when it was not asked."""
        snapshot = next(self._being_taken(), None)
        if snapshot is None or message.get("n") != snapshot.number or type(message.get("threads")) is not int:
            raise Rejected("no such snapshot was asked for")
        error = message.get("error")
        if error is not None or snapshot.line is None:
            self._not_taken(snapshot, required_text(error or COPY_ENDED, 300))
            return
        threads = message["threads"]
        reason = f"{threads} other threads were running; they are not copied" if threads and snapshot.live else ""
        snapshot.live = snapshot.live and not threads
        self._answer(snapshot, reason)
        self._write_next()

    def _being_taken(self) -> Iterator[Taken]:
        return (snapshot for snapshot in self._coming if snapshot.reply is None)

    def _answer(self, snapshot: Taken, reason: str) -> None:
        snapshot.reply = {
            "type": "snapshot_taken",
            "id": snapshot.id,
            "live": snapshot.live,
            "reason": reason,
            "blocked_ms": round((time.monotonic() - snapshot.asked_at) * 1000, 3),
        }
        self._log.add(dict(snapshot.reply))
        self._settle(snapshot)

    def _not_taken(self, snapshot: Taken, reason: str) -> None:
        snapshot.live = False
        self._answer(snapshot, reason)
        if snapshot.durable:
            self._written(snapshot, None, reason)
        self._drop_copy(snapshot)

    def repl_ended(self, why: str) -> None:
        """What was not yet copied is lost; what is parked is not."""
        for snapshot in list(self._being_taken()):
            self._not_taken(snapshot, f"the REPL process ended meanwhile: {why}")
        self._generation += 1
        self._writing.forget_repl()

    def overdue(self, now: float) -> bool:
        """Whether the REPL takes too long to fork."""
        return any(now > snapshot.asked_at + TAKE_S for snapshot in self._being_taken())

    def meet(self, timeout_s: float) -> None:
        """Wait a moment for forks that have not said yet who they are."""
        end = time.monotonic() + timeout_s
        while any(not line.pid for line in self._watcher.lines()) and time.monotonic() < end:
            self._watcher.read(max(0.001, end - time.monotonic()))

    # Parked copies ----------------------------------------------------------------------------------------------

    def _from_copy(self, snapshot: Taken, message: dict[str, Any]) -> None:
        if message.get("t") != "parked" or snapshot.parked:
            raise Rejected("a parked copy says one thing only")
        snapshot.parked = True
        self._settle(snapshot)
        assert snapshot.line is not None
        try:
            os.setpgid(snapshot.line.pid, snapshot.line.pid)
        except OSError:
            pass  # it has done so itself, or is not our child
        if message.get("shared") is True:
            self._no_longer_live([snapshot])
        self._limit_copies(snapshot)
        self._write_next()

    def _settle(self, snapshot: Taken) -> None:
        """Nothing more is waited for once the REPL has answered and the copy is parked or gone."""
        if snapshot in self._coming and snapshot.reply and (snapshot.parked or snapshot.line is None):
            self._coming.remove(snapshot)

    def _copy_ended(self, snapshot: Taken) -> None:
        if snapshot.reply is None:
            self._drop_copy(snapshot)
            return
        self._no_longer_live([snapshot])
        self._drop_copy(snapshot)
        if snapshot.pending and not self._writing.is_at(snapshot):
            self._written(snapshot, None, COPY_ENDED)
        self._write_next()

    def _no_longer_live(self, snapshots: list[Taken]) -> None:
        gone = [snapshot for snapshot in snapshots if snapshot.live]
        for snapshot in gone:
            snapshot.live = False
        ids = [snapshot.id for snapshot in gone if snapshot.reply]
        if ids:
            self._log.add({"type": "live_dropped", "ids": ids})

    def _drop_copy(self, snapshot: Taken) -> None:
        if snapshot.line:
            self._watcher.remove(snapshot.line)
            snapshot.line = None
            self._settle(snapshot)
            self._tell_relay()

    def _limit_copies(self, newest: Taken) -> None:
        """Let the oldest go while there are too many, or they take too much memory. A few are measured by turns; should
        memory run out all the same, the kernel takes copies first."""
        parked = [snapshot for snapshot in self._all.values() if snapshot.line]
        if self._moved_bytes() >= self._max_bytes // MEASURE_AT_SHARE:
            self._measure(parked)
        total_bytes, count, over = sum(snapshot.own_bytes for snapshot in parked), len(parked), []
        for snapshot in parked:
            if count <= MAX_PARKED and total_bytes <= self._max_bytes:
                break
            if not snapshot.pending and snapshot is not newest:
                over.append(snapshot)
                count -= 1
                total_bytes -= snapshot.own_bytes
        self._no_longer_live(over)
        for snapshot in over:
            self._drop_copy(snapshot)

    def _moved_bytes(self) -> int:
        """At most so much can have come to copies since they were measured. One that grows shows as pages that the REPL
        had to get for itself, or gave back."""
        faults, resident = self._looked_at = memory_counters(self._repl_pid)
        before = self._measured_at
        if before is None or before[0] > faults:
            return self._max_bytes
        return (faults - before[0]) * PAGE_BYTES + abs(resident - before[1])

    def _measure(self, parked: list[Taken]) -> None:
        self._measured_at = self._looked_at
        resident, proportional = memory_of(self._repl_pid)
        with_repl_bytes = (resident - proportional) // len(parked)
        for _ in range(min(MEASURED_AT_ONCE, len(parked))):
            self._turn = (self._turn + 1) % len(parked)
            parked[self._turn].measure(with_repl_bytes)

    def _tell_relay(self) -> None:
        """How many copies there are: processes that are ours and not the code's."""
        if self._has_relay:
            count = sum(1 for snapshot in self._all.values() if snapshot.line)
            self._log.add_unnumbered({"type": "side", "n": 0, "frame": {"type": "parked", "count": count}})

    # Writing down -----------------------------------------------------------------------------------------------

    def _write_next(self) -> None:
        """Let the oldest snapshot that waits for it be written down, unless one is."""
        if self._writing.idle:
            snapshot = next((each for each in self._all.values() if each.pending), None)
            if snapshot and snapshot.reply and snapshot.parked and snapshot.line:
                self._writing.start(snapshot, snapshot.line)

    def _written(self, snapshot: Taken, payload: Any, error: str) -> int:
        """Tell the host how it ended; the number of the frame."""
        snapshot.result = {"type": "snapshot_done", "id": snapshot.id}
        if error:
            snapshot.result["error"] = f"snapshot {clip(snapshot.id, 100)} was not written down: {error}"
        else:
            duration_ms = round((time.monotonic() - snapshot.asked_at) * 1000, 3)
            snapshot.result.update(manifest=payload, duration_ms=duration_ms)
        self._log.add(dict(snapshot.result))
        seq = self._log.last_seq
        discard_aside(os.path.join(self._workspace, snapshot.folder))
        if not snapshot.live:
            self._drop_copy(snapshot)
        self._write_next()
        return seq

    def acked(self, seq: int) -> None:
        self._writing.acked(seq)

    # Clock ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        return min([self._writing.next_timer(), *(snapshot.asked_at + TAKE_S for snapshot in self._coming)])

    def check_clock(self, now: float) -> None:
        self._writing.check_clock(now)
        for snapshot in list(self._coming):
            if snapshot.reply and now > snapshot.asked_at + TAKE_S:
                self._copy_ended(snapshot)
