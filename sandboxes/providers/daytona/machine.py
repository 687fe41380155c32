"""One sandbox of Daytona as a machine.

Commands go through the toolbox's `execute` to `line.py`, which tells both streams apart, keeps bytes and kills the process
tree at the deadline: the toolbox mixes the streams, takes text for bytes and has a deadline of 10 s unless told. Files go
over its own transfers, which stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from daytona import AsyncSandbox
from daytona_api_client_async import Sandbox as SandboxDto
from daytona_api_client_async import SandboxListItem

from sandboxes.contract import (
    ExecResult,
    Isolation,
    SandboxInfo,
    SandboxRef,
    SandboxState,
    SnapshotInfo,
    SnapshotKind,
)
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    NotReady,
    RateLimited,
    SandboxError,
    Unsupported,
)
from sandboxes.providers.daytona.description import NAME
from sandboxes.providers.daytona.errors import translated
from sandboxes.providers.daytona.options import CONTAINER, VM, minutes
from sandboxes.providers.daytona.snapshots import Snapshots
from sandboxes.providers.daytona.stream import SessionStream
from sandboxes.remote.bundle import line_source
from sandboxes.remote.text import FILE_TIMEOUT_S, LINE, TextMachine

CALL_TIMEOUT_S = 30.0
STATE_TIMEOUT_S = 120.0
TRANSFER_TIMEOUT_S = 1800
URL_LIFETIME_S = 3600
STATES = {
    "creating": SandboxState.STARTING,
    "restoring": SandboxState.STARTING,
    "starting": SandboxState.STARTING,
    "resuming": SandboxState.STARTING,
    "pending_build": SandboxState.STARTING,
    "building_snapshot": SandboxState.STARTING,
    "pulling_snapshot": SandboxState.STARTING,
    "forking": SandboxState.RUNNING,
    "snapshotting": SandboxState.RUNNING,
    "resizing": SandboxState.RUNNING,
    "started": SandboxState.RUNNING,
    "pausing": SandboxState.PAUSED,
    "paused": SandboxState.PAUSED,
    "stopping": SandboxState.STOPPED,
    "stopped": SandboxState.STOPPED,
    "archiving": SandboxState.STOPPED,
    "archived": SandboxState.STOPPED,
    "error": SandboxState.STOPPED,
    "build_failed": SandboxState.STOPPED,
    "destroying": SandboxState.TERMINATED,
    "destroyed": SandboxState.TERMINATED,
}


class DaytonaMachine(TextMachine):
    provider = NAME
    workspace = "/workspace"

    def __init__(self, sandbox: AsyncSandbox, snapshots: Snapshots, poll_s: float, python: Sequence[str]) -> None:
        self.python = python
        self._sandbox = sandbox
        self._snapshots = snapshots
        self._poll_s = poll_s
        self.ref = reference(sandbox.id)

    @property
    def is_vm(self) -> bool:
        return self._sandbox.sandbox_class == VM

    async def info(self) -> SandboxInfo:
        """Raises `NotFound` when it has ended."""
        with translated():
            await self._sandbox.refresh_data(request_timeout=CALL_TIMEOUT_S)
        info = info_of(self._sandbox)
        if info.state is SandboxState.TERMINATED:
            raise NotFound(f"sandbox {self._sandbox.id} has ended", provider=NAME)
        return info

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        """A call into the sandbox. When it fails, whether the sandbox is there says more than how it failed."""
        try:
            with translated():
                yield
        except (AuthFailed, ExecTimeout, RateLimited):
            raise
        except SandboxError as failure:
            await self._require_running(failure)
            raise

    async def _require_running(self, failure: SandboxError) -> None:
        try:
            info = await self.info()
        except NotFound:
            raise AlreadyTerminated(f"there is no sandbox {self._sandbox.id} any more", provider=NAME) from failure
        except SandboxError:
            return  # the first failure is the one to tell of
        if info.state in (SandboxState.STOPPED, SandboxState.PAUSED):
            raise NotReady(f"sandbox {self._sandbox.id} is {info.state}; resume it first", provider=NAME) from failure

    # Commands -------------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """A container needs nothing: its root makes the workspace when the first file arrives. A VM has another user."""
        if self.is_vm:
            path = shlex.quote(self.workspace)
            line = f'mkdir -p {path} 2>/dev/null || (sudo -n mkdir -p {path} && sudo -n chown "$(id -u)" {path})'
            code, output, _ = await self.command(["sh", "-c", line], FILE_TIMEOUT_S)
            if code != 0:
                raise InvalidSpec(f"the sandbox has no place for {path}: {output[-300:]}", provider=NAME)

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        """Both streams are one at Daytona: it is told as either."""
        async with self._calling():
            done = await self._sandbox.process.exec(shlex.join(words), timeout=math.ceil(timeout_s))
            return int(done.exit_code), done.result, done.result

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        await self._bring_line()
        return await super().run(argv, timeout_s=timeout_s, cwd=cwd, env=env, max_output_bytes=max_output_bytes)

    _has_line = False

    async def _bring_line(self) -> None:
        """`line.py`, with the first command and not with the sandbox: many are made for their channel only."""
        if not self._has_line:
            await self.write(f"{self.workspace}/{LINE}", line_source().encode())
            self._has_line = True

    async def open_stream(self, argv: Sequence[str]) -> SessionStream:
        async with self._calling():
            return await SessionStream.open(self._sandbox.process, argv)

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        async with self._calling():
            await self._sandbox.fs.upload_file(data, path, int(FILE_TIMEOUT_S))

    async def upload(self, path: str, source: str) -> None:
        async with self._calling():
            await self._sandbox.fs.upload_file(source, path, TRANSFER_TIMEOUT_S)

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        data = bytearray()
        async for piece in self._pieces(path, max_bytes):
            data += piece
        return bytes(data)

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        count = 0
        with await asyncio.to_thread(Path(target).open, "wb") as file:
            async for piece in self._pieces(path, max_bytes):
                count += await asyncio.to_thread(file.write, piece)
        return count

    async def _pieces(self, path: str, max_bytes: int) -> AsyncIterator[bytes]:
        async with self._calling():
            found = await self._sandbox.fs.get_file_info(path, request_timeout=CALL_TIMEOUT_S)
        if found.is_dir:
            raise InvalidSpec(f"{path} is a folder", provider=NAME)
        count = found.size
        if count == 0:
            return  # the client takes a file without contents for one that did not arrive
        if count <= max_bytes:
            count = 0
            async with self._calling():
                async for piece in await self._sandbox.fs.download_file_stream(path, TRANSFER_TIMEOUT_S):
                    count += len(piece)
                    if count > max_bytes:
                        break  # it has grown since
                    yield piece
        if count > max_bytes:
            raise InvalidSpec(f"{path} has {count} bytes, more than {max_bytes}", provider=NAME)

    # Life -----------------------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """`ttl_s` is the caller's to keep: Daytona keeps snapshots until they are deleted."""
        return await self._snapshots.take(self._sandbox.id, self._sandbox.sandbox_class or CONTAINER, kind)

    async def extend(self, seconds: float) -> None:
        """The vendor counts a new limit from now, other than that of the creation."""
        info = await self.info()
        if info.expires_at is None:
            return
        with translated():
            await self._sandbox.set_ttl(
                minutes(info.expires_at - time.time() + seconds), request_timeout=CALL_TIMEOUT_S
            )

    async def pause(self) -> None:
        """A VM keeps its memory, a container its files. Raises `Unsupported` for one that is deleted when it stops."""
        if self._sandbox.auto_delete_interval == 0:
            raise Unsupported("pause of an ephemeral sandbox, as all with a GPU are", provider=NAME)
        with translated():
            if self.is_vm:
                await self._sandbox.pause(timeout=STATE_TIMEOUT_S)
            else:
                await self._sandbox.stop(timeout=STATE_TIMEOUT_S)

    async def resume(self) -> None:
        with translated():
            await self._sandbox.start(timeout=STATE_TIMEOUT_S)

    async def port_url(self, port: int) -> str:
        """Good for an hour; whoever has it needs no key."""
        with translated():
            signed = await self._sandbox.create_signed_preview_url(
                port, expires_in_seconds=URL_LIFETIME_S, request_timeout=CALL_TIMEOUT_S
            )
            return str(signed.url)

    async def terminate(self) -> None:
        deadline = time.monotonic() + STATE_TIMEOUT_S
        while True:
            try:
                with contextlib.suppress(NotFound, AlreadyTerminated), translated():
                    await self._sandbox.delete(timeout=CALL_TIMEOUT_S)
                return
            except NotReady:  # it is between two states, being saved for instance
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self._poll_s)


def reference(id: str) -> SandboxRef:
    return SandboxRef(json.dumps({"provider": NAME, "id": id}))


def info_of(data: SandboxDto | SandboxListItem) -> SandboxInfo:
    kind = str(getattr(data.sandbox_class, "value", data.sandbox_class) or CONTAINER)
    return SandboxInfo(
        reference(data.id),
        state_of(data),
        Isolation.MICROVM if kind == VM else Isolation.CONTAINER,
        kind,
        _timestamp(data.created_at) or 0.0,
        _timestamp(data.auto_destroy_at),
        dict(data.labels),
    )


def state_of(data: SandboxDto | SandboxListItem) -> SandboxState:
    return STATES.get(data.state.value if data.state else "", SandboxState.UNKNOWN)


def _timestamp(text: str | None) -> float | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
