"""Sandboxes made of folders and processes: what the servers of the vendors' protocols have behind them.

A box has folders of its own (`/workspace`, `/home/user`, `/tmp`) and sees this machine's programs read-only. Its processes
are real, so a lost stream, a kill and a snapshot in the middle of something are real, too. A snapshot is a copy of the
folders (copy-on-write where the file system can), and a fork is a box made from one. Memory is not part of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sandboxes.local.bubblewrap import find_bubblewrap
from tests.wire.process import Process

MARK = "RLMWEB_ENGINE_BOX"
FOLDERS = {"workspace": "/workspace", "home": "/home/user", "tmp": "/tmp"}
KILLED_S = 5.0
HIDDEN = frozenset({"proc", "dev", "sys", "run", "boot", "lost+found", "workspace", "home", "tmp"})


class NoSuchBox(LookupError):
    """There is no such box, or it has ended."""


@dataclass
class Snapshot:
    id: str
    folder: Path
    parent: str
    created_at: float = field(default_factory=time.time)
    expires_at: float | None = None

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and time.time() >= self.expires_at


@dataclass
class Box:
    """`processes` by number as the vendor's protocol tells it."""

    id: str
    folder: Path
    labels: dict[str, str]
    env: dict[str, str]
    expires_at: float | None = None
    created_at: float = field(default_factory=time.time)
    state: str = "running"
    settings: dict[str, object] = field(default_factory=dict)
    """What the create request asked for, for tests to look at."""
    processes: dict[int, Process] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid4().hex)
    """What its processes are found by; ids are the same in test runs that go on at the same time."""

    @property
    def alive(self) -> bool:
        return self.state != "terminated"

    def host_path(self, path: str) -> Path:
        """Where a path of the box lies. Raises `PermissionError` outside its own folders."""
        for name, inside in FOLDERS.items():
            if path == inside or path.startswith(f"{inside}/"):
                real = Path(os.path.normpath(self.folder / name / path[len(inside) :].lstrip("/")))
                if real.is_relative_to(self.folder / name):
                    return real
        raise PermissionError(f"{path} is not in a folder of the box")

    async def spawn(
        self, argv: Sequence[str], *, cwd: str = "/workspace", env: Mapping[str, str] | None = None, stderr: bool = True
    ) -> Process:
        """Start a process with pipes. With `stderr` off both streams are one."""
        process = await Process.start(
            self._wrapped(list(argv), cwd, dict(env or {})), stderr=stderr, env={MARK: self.mark}
        )
        self.processes[process.pid] = process
        if not self.alive:  # it ended while the process was starting
            self.kill_processes()
        return process

    def _wrapped(self, argv: list[str], cwd: str, env: dict[str, str]) -> list[str]:
        words = [find_bubblewrap()]
        for entry in sorted(Path("/").iterdir()):
            if entry.name in HIDDEN:
                continue
            path = str(entry)
            words += ["--symlink", os.readlink(path), path] if entry.is_symlink() else ["--ro-bind", path, path]
        words += ["--dev-bind", "/dev", "/dev", "--ro-bind", "/proc", "/proc"]
        for name, inside in FOLDERS.items():
            words += ["--bind", str(self.folder / name), inside]
        words += ["--chdir", cwd, "--clearenv"]
        base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8"}
        for name, value in {**base, **self.env, **env, MARK: self.mark}.items():
            words += ["--setenv", name, value]
        return [*words, "--", *argv]

    def kill_processes(self) -> None:
        """Everything that was ever started in the box, also what left its process group.

        A process that forks while the list is read has a child that is not on it, so the list is read until it is empty.
        """
        deadline = time.monotonic() + KILLED_S
        while (pids := self._pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in self.processes.values():
            # One that nobody waited for is complained of when it is collected, in whatever test that is.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(KILLED_S)

    def _pids(self) -> list[int]:
        """The environment of one that has ended is empty, so those nobody has waited for yet are not among them."""
        mark = f"{MARK}={self.mark}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() + b"\0":
                        found.append(int(entry.name))
        return found


class Engine:
    """All boxes and snapshots of one fake vendor. `created` and `alive()` are what leaks are counted by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boxes: dict[str, Box] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.created = 0
        self._numbers = itertools.count(1)

    def create(
        self,
        *,
        id: str = "",
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        snapshot: str = "",
        lifetime_s: float | None = None,
    ) -> Box:
        """Raises `NoSuchBox` for a snapshot that is not there, or expired."""
        id = id or f"box{next(self._numbers)}"
        folder = self.folder / "boxes" / id
        if snapshot:
            self._copy(self.snapshot(snapshot).folder, folder)
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        expires_at = time.time() + lifetime_s if lifetime_s is not None else None
        box = self.boxes[id] = Box(id, folder, dict(labels or {}), dict(env or {}), expires_at)
        self.created += 1
        return box

    def box(self, id: str) -> Box:
        """A box that has not ended. Raises `NoSuchBox`."""
        box = self.boxes.get(id)
        if box is not None and box.alive and box.expires_at is not None and time.time() >= box.expires_at:
            self.terminate(id)
        if box is None or not box.alive:
            raise NoSuchBox(id)
        return box

    def alive(self) -> list[Box]:
        return [box for box in self.boxes.values() if box.alive]

    def find(self, labels: Mapping[str, str]) -> list[Box]:
        return [box for box in self.alive() if labels.items() <= box.labels.items()]

    def terminate(self, id: str) -> bool:
        """False when there was nothing to end."""
        box = self.boxes.get(id)
        if box is None or not box.alive:
            return False
        box.state = "terminated"
        box.kill_processes()
        shutil.rmtree(box.folder, ignore_errors=True)
        return True

    def take_snapshot(self, id: str, *, lifetime_s: float | None = None, snapshot_id: str = "") -> Snapshot:
        box = self.box(id)
        name = snapshot_id or f"snap{next(self._numbers)}"
        folder = self.folder / "snapshots" / name
        self._copy(box.folder, folder)
        expires_at = time.time() + lifetime_s if lifetime_s is not None else None
        found = self.snapshots[name] = Snapshot(name, folder, id, expires_at=expires_at)
        return found

    def snapshot(self, id: str) -> Snapshot:
        found = self.snapshots.get(id)
        if found is None or found.expired:
            raise NoSuchBox(id)
        return found

    def delete_snapshot(self, id: str) -> bool:
        found = self.snapshots.pop(id, None)
        if found is not None:
            shutil.rmtree(found.folder, ignore_errors=True)
        return found is not None

    def close(self) -> None:
        for id in list(self.boxes):
            self.terminate(id)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Sockets and pipes are no part of a file system's snapshot."""

        def ignored(folder: str, names: list[str]) -> list[str]:
            return [name for name in names if not _is_held(Path(folder, name))]

        shutil.copytree(source, target, symlinks=True, ignore=ignored)


def _is_held(path: Path) -> bool:
    return path.is_symlink() or path.is_file() or path.is_dir()
