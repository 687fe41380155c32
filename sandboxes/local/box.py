"""One sandbox of the service: its process, its workspace, its line to the runner, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sandboxes.contract import INPUT_PREFIX
from sandboxes.errors import AlreadyTerminated, ProviderUnavailable
from sandboxes.local import files
from sandboxes.local.cgroups import Group
from sandboxes.local.processes import process_tree
from sandboxes.local.spec import BoxSpec
from sandboxes.local.tiers import Launched, Tier, close_quietly, make_folder
from sandboxes.relay import RunnerLine

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 2.0


class Box:
    """A sandbox from its launch to the last trace of it. `end()` may be called any number of times."""

    def __init__(self, tier: Tier, spec: BoxSpec, folder: Path, group: Group, on_end: Callable[[Box], None]) -> None:
        self.id = folder.name
        self.tier = tier
        self.spec = spec
        self.created_at = time.time()
        self.expires_at = self.created_at + spec.lifetime_s
        self.end_reason = ""
        self.folder = make_folder(folder)
        self.group = group
        self._on_end = on_end
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._workspace = -1
        self._incoming = -1
        self.launched: Launched | None = None
        self.line = RunnerLine(self._became_ready, self._line_closed, self._copies_changed)

    # Life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Launch it and wait for the runner. Raises `ProviderUnavailable`; nothing is left behind then."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            self.launched = self.tier.launch(self.spec, self.folder, theirs.fileno())
        except BaseException:
            ours.close()
            self._clean()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        await loop.create_connection(lambda: self.line, sock=ours)
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), READY_TIMEOUT_S)
            self._workspace = self.tier.open_workspace(self.launched)
            background(self._confine())
        except (TimeoutError, OSError, ValueError, ProviderUnavailable) as error:
            await self.end("it did not start")
            raise ProviderUnavailable(f"the sandbox ({self.tier.name}) did not start: {error}") from error

    async def _confine(self) -> None:
        """Put its processes under the limits, then let the host's first line through: no code runs before."""
        try:
            await asyncio.to_thread(self.group.attach, self.processes())
        except OSError as error:
            await self.end(f"its limits could not be set: {error}")
        self.line.open_gate()

    def _became_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _copies_changed(self, count: int) -> None:
        """Parked copies are processes of the runner's: they do not count as the code's."""
        if self.alive:
            self.group.allow_processes(self.spec.max_processes + count)

    def _line_closed(self) -> None:
        if not self._ready.done():
            self._ready.set_exception(ProviderUnavailable("the runner ended before it was ready"))
        if not self.end_reason:
            background(self.end("the runner ended"))

    async def end(self, reason: str) -> None:
        """End everything in it and remove its traces."""
        if self.end_reason:
            await self._ended.wait()
            return
        self.end_reason = reason
        try:
            self.line.close()
            if self.launched:
                await self._end_process(self.launched)
        finally:
            self._clean()
            self._ended.set()
            self._on_end(self)

    async def _end_process(self, launched: Launched) -> None:
        process = launched.process
        if not self.tier.kill_at_once and await _exited(process.pid, END_TIMEOUT_S):
            process.wait()
            return
        process.kill()
        await _exited(process.pid, END_TIMEOUT_S)
        process.poll()

    def _clean(self) -> None:
        close_quietly(self._workspace)
        close_quietly(self._incoming)
        self._workspace = self._incoming = -1
        if self.launched:
            close_quietly(self.launched.status_fd)
            self.launched.status_fd = -1
        shutil.rmtree(self.folder, ignore_errors=True)
        background(asyncio.to_thread(self.group.remove))

    @property
    def alive(self) -> bool:
        return not self.end_reason

    def is_running(self) -> bool:
        """Ask the kernel: a process that was just killed may not have been noticed yet."""
        return self.alive and self.launched is not None and self.launched.process.poll() is None

    def require_alive(self) -> None:
        if self.end_reason:
            raise AlreadyTerminated(f"the sandbox has ended: {self.end_reason}")

    # What clients ask -------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "state": "running" if self.alive else "terminated",
            "tier": self.tier.name,
            "isolation": self.tier.isolation,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "labels": self.spec.labels,
        }

    def adopt(self, spec: BoxSpec) -> None:
        """Give a waiting sandbox to a client: its life starts now, under the client's labels and times."""
        self.spec = spec
        self.created_at = time.time()
        self.expires_at = self.created_at + spec.lifetime_s
        self.line.last_traffic = time.monotonic()

    def extend(self, seconds: float) -> None:
        self.require_alive()
        self.expires_at = max(self.expires_at, time.time()) + seconds

    def _place(self, path: str) -> tuple[int, str]:
        """The folder that holds `path` and the path in it: what the host sends lies outside the sandbox's reach."""
        self.require_alive()
        if not path.startswith(INPUT_PREFIX):
            return self._workspace, path
        if self._incoming < 0:
            assert self.launched is not None
            self._incoming = os.open(self.launched.folders["in"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._incoming, path[len(INPUT_PREFIX) :]

    def write_file(self, path: str, data: bytes) -> None:
        root, name = self._place(path)
        files.write_file(root, name, data, owner=self.tier.owner)

    def put_file(self, path: str, source: str) -> int:
        root, name = self._place(path)
        return files.copy_file(root, name, source, owner=self.tier.owner)

    def get_file(self, path: str, target: str, max_bytes: int) -> int:
        root, name = self._place(path)
        return files.fetch_file(root, name, target, max_bytes=max_bytes)

    def read_file(self, path: str, offset: int, max_bytes: int) -> tuple[bytes, int]:
        root, name = self._place(path)
        return files.read_file(root, name, offset=offset, max_bytes=max_bytes)

    def trusted_processes(self) -> set[int]:
        """The launcher and the supervisor, which run no code of a cell."""
        if not self.launched:
            return set()
        return {self.launched.process.pid, self.tier.runner_pid(self.launched)}

    def processes(self) -> list[int]:
        """The host's numbers of all its processes."""
        if not self.launched or not self.alive:
            return []
        return process_tree(self.launched.process.pid)


_background: set[asyncio.Future[None]] = set()


def background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that nobody waits for; asyncio itself only holds weak references."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


async def _exited(pid: int, timeout_s: float) -> bool:
    """Wait until process `pid`, a child of ours, has ended (it is not collected)."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    done: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _finish, done)
    try:
        await asyncio.wait_for(done, timeout_s)
        return True
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
