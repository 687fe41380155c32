"""Who was started for a data folder. A file names a process by number and start time, because numbers are
used again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

STOP_TIMEOUT_S = 5.0
POLL_S = 0.02


def started_at(pid: int) -> str | None:
    """A text that no later process with the same number has; None when there is no such process (or only
    its zombie).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _started_at_by_ps(pid)
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else start_ticks


def _started_at_by_ps(pid: int) -> str | None:
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip() or None


def write(folder: Path, name: str, pid: int) -> None:
    (folder / f"{name}.pid").write_text(f"{pid} {started_at(pid)}\n")


def remove(folder: Path, name: str) -> None:
    (folder / f"{name}.pid").unlink(missing_ok=True)


def read(path: Path) -> int | None:
    """The number of the process that the file names, if that very process is still alive."""
    pid_text, _, start = path.read_text().strip().partition(" ")
    if not pid_text.isdecimal() or started_at(int(pid_text)) != start:
        return None
    return int(pid_text)


def stop_leftovers(folder: Path) -> list[str]:
    """End every process that an earlier, killed supervisor left behind; returns their names."""
    stopped = []
    for path in sorted(folder.glob("*.pid")):
        pid = read(path)
        if pid is not None:
            _stop(pid, path)
            stopped.append(path.stem)
        path.unlink(missing_ok=True)
    return stopped


def _stop(pid: int, path: Path) -> None:
    # PostgreSQL takes SIGINT as "end the connections and stop"; the others take it as Ctrl-C.
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while read(path) is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        else:
            return
