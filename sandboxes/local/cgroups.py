"""Control groups for processor time, memory and processes, where this machine lets us make them; version 2 or version 1.

Without them the watchdog in `watch.py` counts memory and processes itself, a few times a second, and processor time is
limited in whole cores: the processes are pinned, and the seccomp filter refuses to change that.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import time
from pathlib import Path
from typing import Protocol

MOUNT = Path("/sys/fs/cgroup")
MIB = 1024 * 1024
SUPERVISOR_MB = 64
"""Allowance for the supervisor and the launcher, on top of the memory and the workspace of the code."""
SPARE_PROCESSES = 12
"""For the supervisor, the launcher, and what is being forked for snapshots; parked copies come on top."""
CPU_PERIOD_US = 100_000
REMOVE_TIMEOUT_S = 2.0
OLD_S = 60.0
log = logging.getLogger("rlmweb.sandbox")


class Group(Protocol):
    """The control group of one sandbox."""

    def attach(self, pids: list[int]) -> None:
        """Move processes in; what they start later is in it too. May take some 20 ms: the kernel waits for all CPUs."""

    def allow_processes(self, count: int) -> None:
        """From now on so many processes besides those that every sandbox has."""

    def remove(self) -> None:
        """Remove it once its processes are gone."""


class Groups(Protocol):
    name: str

    def create(self, box: str, cpu: float, memory_mb: int, disk_mb: int, processes: int) -> Group: ...


class _Cores:
    """The limit without a quota: the processes of a sandbox, and what they start, share so many whole cores."""

    _first = itertools.count()

    def __init__(self, cpu: float) -> None:
        cores = sorted(os.sched_getaffinity(0))
        start = next(self._first)
        self._cores = {cores[(start + n) % len(cores)] for n in range(min(len(cores), math.ceil(cpu)))}

    def attach(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(pid, self._cores)


class _Folders:
    """The folders of one sandbox: one in version 2, one per controller in version 1."""

    def __init__(self, folders: list[Path], pids: Path, cores: _Cores | None) -> None:
        self._folders = folders
        self._pids = pids
        self._cores = cores

    def allow_processes(self, count: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            _write(self._pids / "pids.max", count + SPARE_PROCESSES)

    def attach(self, pids: list[int]) -> None:
        if self._cores is not None:
            self._cores.attach(pids)
        for folder in self._folders:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    _write(folder / "cgroup.procs", pid)

    def remove(self) -> None:
        deadline = time.monotonic() + REMOVE_TIMEOUT_S
        for folder in self._folders:
            while not _try_remove(folder) and time.monotonic() < deadline:
                time.sleep(0.01)  # its last process is still ending


class VersionTwo:
    name = "cgroup v2"

    def __init__(self, base: Path, *, cpu: bool) -> None:
        self._base = base
        self.limits_cpu = cpu

    def create(self, box: str, cpu: float, memory_mb: int, disk_mb: int, processes: int) -> Group:
        folder = self._base / f"rlmweb-{box}"
        folder.mkdir()
        _write(folder / "memory.max", (memory_mb + disk_mb + SUPERVISOR_MB) * MIB)
        with contextlib.suppress(FileNotFoundError):
            _write(folder / "memory.swap.max", 0)
        if self.limits_cpu:
            _write(folder / "cpu.max", f"{_quota_us(cpu)} {CPU_PERIOD_US}")
        group = _Folders([folder], folder, None if self.limits_cpu else _Cores(cpu))
        group.allow_processes(processes)
        return group


class VersionOne:
    name = "cgroup v1"

    def __init__(self, memory: Path, pids: Path, cpu: Path | None) -> None:
        self._memory = memory
        self._pids = pids
        self._cpu = cpu
        self.limits_cpu = cpu is not None

    def create(self, box: str, cpu: float, memory_mb: int, disk_mb: int, processes: int) -> Group:
        memory, pids = self._memory / f"rlmweb-{box}", self._pids / f"rlmweb-{box}"
        memory.mkdir()
        pids.mkdir()
        _write(memory / "memory.limit_in_bytes", (memory_mb + disk_mb + SUPERVISOR_MB) * MIB)
        folders = [memory, pids]
        if self._cpu is not None:
            folder = self._cpu / f"rlmweb-{box}"
            folder.mkdir()
            _write(folder / "cpu.cfs_period_us", CPU_PERIOD_US)
            _write(folder / "cpu.cfs_quota_us", _quota_us(cpu))
            folders.append(folder)
        group = _Folders(folders, pids, _Cores(cpu) if self._cpu is None else None)
        group.allow_processes(processes)
        return group


class NoGroup:
    """Memory and processes are the watchdog's."""

    def __init__(self, cpu: float) -> None:
        self._cores = _Cores(cpu)

    def attach(self, pids: list[int]) -> None:
        self._cores.attach(pids)

    def allow_processes(self, count: int) -> None:
        pass

    def remove(self) -> None:
        pass


class NoGroups:
    """No control group to be had."""

    name = ""

    def create(self, box: str, cpu: float, memory_mb: int, disk_mb: int, processes: int) -> Group:
        return NoGroup(cpu)


def _quota_us(cpu: float) -> int:
    return max(1_000, int(cpu * CPU_PERIOD_US))


def find_groups() -> Groups:
    """The best that can be used here, tried out by making one."""
    own = _own_paths()
    for candidate in (_version_two(own), _version_one(own)):
        if candidate is None:
            continue
        try:
            candidate.create(f"probe-{os.getpid()}", 1, 64, 1, 16).remove()
            return candidate
        except OSError as error:
            log.info("%s cannot be used: %s", candidate.name, error)
    return NoGroups()


def _own_paths() -> dict[str, str]:
    """This process's path by controller; version 2 has the empty name."""
    paths = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _version_two(own: dict[str, str]) -> Groups | None:
    """Our own group, if memory and process limits can be given to groups below it.

    Version 2 allows that only for a group without processes, so we first move to a leaf of our own.
    """
    if "" not in own or not (MOUNT / "cgroup.controllers").exists():
        return None
    base = MOUNT / own[""].lstrip("/")
    if base == MOUNT or not os.access(base / "cgroup.procs", os.W_OK):
        return None
    try:
        controllers = set((base / "cgroup.controllers").read_text().split())
        if not {"memory", "pids"} <= controllers:
            return None
        _remove_old(base)
        leaf = base / "rlmweb-service"
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", os.getpid())
        cpu = "cpu" in controllers
        _write(base / "cgroup.subtree_control", "+memory +pids +cpu" if cpu else "+memory +pids")
    except OSError as error:
        log.info("cgroup v2 is not delegated to this service: %s", error)
        return None
    return VersionTwo(base, cpu=cpu)


def _version_one(own: dict[str, str]) -> Groups | None:
    memory, pids = _writable("memory", own), _writable("pids", own)
    if memory is None or pids is None:
        return None
    cpu = _writable("cpu", own)
    for place in (memory, pids, cpu):
        if place is not None:
            _remove_old(place)
    return VersionOne(memory, pids, cpu if cpu is not None and _has_quota(cpu) else None)


def _has_quota(place: Path) -> bool:
    """Kernels without bandwidth control have the controller and not the quota."""
    probe = place / f"rlmweb-quota-{os.getpid()}"
    try:
        probe.mkdir()
        return (probe / "cpu.cfs_quota_us").exists()
    except OSError:
        return False
    finally:
        _try_remove(probe)


def _writable(controller: str, own: dict[str, str]) -> Path | None:
    """Where groups of this controller can be made."""
    nested = MOUNT / controller / own.get(controller, "").lstrip("/")
    place = nested if nested.is_dir() else MOUNT / controller
    return place if (place / "cgroup.procs").exists() and os.access(place, os.W_OK) else None


def _remove_old(place: Path) -> None:
    """Remove groups without processes that a killed service left. Young ones may be about to get their first."""
    for folder in place.glob("rlmweb-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > OLD_S:
                _try_remove(folder)


def _write(path: Path, value: int | str) -> None:
    with open(path, "w") as stream:
        stream.write(str(value))


def _try_remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
