"""The watchdog: ends sandboxes that are past their time, and stops code that takes more than its share.

Memory and processes are counted here only where control groups do not do it. What goes too far loses its REPL process
(the largest one), which the runner reports as `killed`; a sandbox that stays over the limit is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path

from sandboxes.local.box import Box
from sandboxes.local.cgroups import SPARE_PROCESSES
from sandboxes.local.execute import helpers
from sandboxes.local.keeper import Keeper
from sandboxes.local.processes import OrphanReaper, goes_first, proportional_bytes, resident_bytes

log = logging.getLogger("rlmweb.sandbox")
PERIOD_S = 0.25
DISK_PERIODS = 4
MIB = 1024 * 1024
STRIKES = 8
"""Periods in a row over a limit after which the sandbox itself is ended: killing its code did not help."""


class Watch:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._counts_itself = not keeper.groups.name
        self._strikes: dict[str, int] = {}
        self._reaper = OrphanReaper()

    async def run(self) -> None:
        """Look at every sandbox a few times a second until cancelled."""
        period = 0
        while True:
            await asyncio.sleep(PERIOD_S)
            period += 1
            launched = {box.launched.process.pid for box in self._keeper.boxes.values() if box.launched}
            self._reaper.run(launched | helpers)
            for box in self._keeper.in_use():
                reason = _past_time(box)
                if not reason and self._counts_itself:
                    reason = self._over_share(box)
                if not reason and period % DISK_PERIODS == 0:
                    reason = await asyncio.to_thread(_over_disk, box)
                if reason:
                    log.info("sandbox %s is ended: %s", box.id, reason)
                    await box.end(reason)

    def _over_share(self, box: Box) -> str:
        """Kill the REPL of a sandbox that uses too much; the reason to end it when that does not help."""
        pids = box.processes()
        over = _excess(box, pids)
        if not over:
            self._strikes.pop(box.id, None)
            return ""
        self._strikes[box.id] = self._strikes.get(box.id, 0) + 1
        if self._strikes[box.id] > STRIKES:
            del self._strikes[box.id]
            return over
        for pid in _killable(box, pids):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return ""


def _past_time(box: Box) -> str:
    if time.time() > box.expires_at:
        return f"its lifetime of {box.spec.lifetime_s} s is over"
    if time.monotonic() - box.line.last_traffic > box.spec.idle_s:
        return f"it was idle for {box.spec.idle_s} s"
    return ""


def _excess(box: Box, pids: list[int]) -> str:
    if len(pids) > box.spec.max_processes + SPARE_PROCESSES + box.line.parked:
        return f"it ran {len(pids)} processes; {box.spec.max_processes} are allowed"
    limit = box.spec.memory_mb * MIB
    # Resident memory counts shared pages many times over; the exact figure is dearer and asked for only then.
    if resident_bytes(pids) > limit and (used := proportional_bytes(pids)) > limit:
        return f"it used {used // MIB} MiB of memory; {box.spec.memory_mb} MiB are allowed"
    return ""


def _killable(box: Box, pids: list[int]) -> list[int]:
    """Copies that are parked, as long as there are any: they go first. Then everything below the supervisor, which is
    left to report what happened."""
    below = [pid for pid in pids if pid not in box.trusted_processes()]
    copies = [pid for pid in below if goes_first(pid)]
    return copies or below


def _over_disk(box: Box) -> str:
    """For a workspace on the host's disk: one in memory has a size of its own."""
    folder = box.launched.folders.get("work") if box.launched else None
    if folder is None or not box.alive:
        return ""
    used = _folder_bytes(Path(folder), box.spec.disk_mb * MIB)
    return f"it wrote {used // MIB} MiB; {box.spec.disk_mb} MiB are allowed" if used > box.spec.disk_mb * MIB else ""


def _folder_bytes(folder: Path, enough: int) -> int:
    """Bytes on disk below `folder`; stops counting once there are more than `enough`."""
    total, queue = 0, [str(folder)]
    while queue and total <= enough:
        try:
            with os.scandir(queue.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512 + 512
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
        except OSError:
            continue  # removed while we looked
    return total
