"""One sandbox of E2B as a machine: processes over envd's process service, files over its transfers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO
from uuid import uuid4

from e2b import AsyncSandbox

from sandboxes.contract import ExecResult, SandboxInfo, SandboxRef, SandboxState, SnapshotInfo, SnapshotKind
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    NotReady,
    ProviderUnavailable,
    RateLimited,
    SandboxError,
    Unsupported,
)
from sandboxes.providers.e2b.client import Client
from sandboxes.providers.e2b.description import NAME
from sandboxes.providers.e2b.errors import translated
from sandboxes.providers.e2b.options import info_of, lifetime_s
from sandboxes.providers.e2b.snapshots import Snapshots
from sandboxes.providers.e2b.stream import Command, Processes, ProcessStream
from sandboxes.remote.machine import BareMachine
from sandboxes.remote.shell import FORGET_RUNNER, IN_FOLDER, KILL_MARKED, RUN_MARK

TRANSFER_TIMEOUT_S = 1800.0
STATE_TIMEOUT_S = 120.0
GRACE_S = 15.0


class E2BMachine(BareMachine):
    provider = NAME

    def __init__(
        self,
        client: Client,
        sandbox: AsyncSandbox,
        snapshots: Snapshots,
        *,
        workspace: str,
        python: Sequence[str],
        public_ports: bool,
    ) -> None:
        self.workspace = workspace
        self.python = python
        self.id = sandbox.sandbox_id
        self.ref = reference(self.id)
        self._client = client
        self._sandbox = sandbox
        self._snapshots = snapshots
        self._public_ports = public_ports
        self._processes = Processes(sandbox)

    async def info(self) -> SandboxInfo:
        found = await self._client.detail(self.id)
        return info_of(self.ref, str(found.state), found.started_at, found.end_at, found.metadata, found.template_id)

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        """A call into the sandbox. When it fails, whether the sandbox is there says more than how it failed."""
        try:
            with translated():
                yield
        except (AuthFailed, ExecTimeout, RateLimited, InvalidSpec):
            raise
        except SandboxError as failure:
            await self._require_running(failure)
            raise

    async def _require_running(self, failure: SandboxError) -> None:
        try:
            info = await self.info()
        except NotFound:
            raise AlreadyTerminated(f"there is no sandbox {self.id} any more", provider=NAME) from failure
        except SandboxError:
            return  # the first failure is the one to tell of
        if info.state is SandboxState.PAUSED:
            raise NotReady(f"sandbox {self.id} is paused; resume it first", provider=NAME) from failure
        if isinstance(failure, AlreadyTerminated):
            raise NotReady(f"sandbox {self.id} runs and cannot be reached yet", provider=NAME) from failure

    # Commands -------------------------------------------------------------------------------------------------------

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        mark = uuid4().hex
        command = Command(self._processes, max_output_bytes)
        words = ["/bin/sh", "-c", IN_FOLDER, "sh", self.workspace, cwd or self.workspace, *argv]
        async with self._calling():
            try:
                async with asyncio.timeout(timeout_s):
                    return await command.run(words, {**env, RUN_MARK: mark}, timeout_s + GRACE_S)
            except TimeoutError as error:
                await self._kill_marked(mark)
                raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from error
            except ProviderUnavailable:
                await self._kill_marked(mark)  # it may run all the same, and whoever tries again would have two
                raise

    async def _kill_marked(self, mark: str) -> None:
        with contextlib.suppress(SandboxError, TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._shell(KILL_MARKED, f"{RUN_MARK}={mark}")

    async def _shell(self, line: str, *words: str) -> ExecResult:
        return await Command(self._processes, 4096).run(["/bin/sh", "-c", line, "sh", *words], {}, GRACE_S)

    async def open_stream(self, argv: Sequence[str]) -> ProcessStream:
        words = ["/bin/sh", "-c", IN_FOLDER, "sh", self.workspace, self.workspace, *argv]
        async with self._calling():
            pid, events = await self._processes.start(words, env={}, stdin=True)
        return ProcessStream(self._processes, pid, events)

    async def forget_runner(self) -> None:
        async with self._calling():
            await self._shell(f'cd "$1" && {{ {FORGET_RUNNER}; }}', self.workspace)

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        async with self._calling():
            await self._sandbox.files.write(path, data, use_octet_stream=True)

    async def upload(self, path: str, source: str) -> None:
        with await asyncio.to_thread(open, source, "rb") as file:
            async with self._calling(), asyncio.timeout(TRANSFER_TIMEOUT_S):
                await self._sandbox.files.write(path, file, use_octet_stream=True)

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        found = io.BytesIO()
        await self._copy(path, found, max_bytes)
        return found.getvalue()

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        with await asyncio.to_thread(open, target, "wb") as file:
            return await self._copy(path, file, max_bytes)

    async def _copy(self, path: str, target: BinaryIO, max_bytes: int) -> int:
        """In constant memory, and no more than one piece beyond `max_bytes`."""
        count = 0
        async with self._calling(), asyncio.timeout(TRANSFER_TIMEOUT_S):
            pieces = await self._sandbox.files.read(path, format="stream")
            async with pieces:
                async for piece in pieces:
                    count += len(piece)
                    if count > max_bytes:
                        raise InvalidSpec(f"{path} has more than {max_bytes} bytes", provider=NAME)
                    target.write(piece)
        return count

    # Snapshots and life ---------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """Streams break meanwhile; processes go on afterwards. E2B has no expiry of snapshots: `ttl_s` is ours."""
        return await self._snapshots.take(self.id, kind, label)

    async def extend(self, seconds: float) -> None:
        """The vendor's call sets what is left from now on."""
        left_s = max(0.0, ((await self.info()).expires_at or time.time()) - time.time())
        with translated():
            await AsyncSandbox.set_timeout(self.id, math.ceil(left_s + seconds), **self._client.options)

    async def pause(self) -> None:
        """With its memory. One that is paused already is success."""
        with translated():
            await AsyncSandbox.pause(
                self.id, mode="full", **{**self._client.options, "request_timeout": STATE_TIMEOUT_S}
            )

    async def resume(self) -> None:
        found = await self._client.detail(self.id)
        with translated(placing=True):
            self._sandbox = await AsyncSandbox.connect(
                self.id,
                timeout=lifetime_s(found.metadata),
                **{**self._client.options, "request_timeout": STATE_TIMEOUT_S},
            )
        self._processes = Processes(self._sandbox)

    async def port_url(self, port: int) -> str:
        if not self._public_ports:
            raise Unsupported("port_url (allow public ports in the provider's settings)", provider=NAME)
        return f"https://{self._sandbox.get_host(port)}"

    async def terminate(self) -> None:
        with translated():
            await AsyncSandbox.kill(self.id, **self._client.options)


def reference(sandbox_id: str) -> SandboxRef:
    return SandboxRef(json.dumps({"provider": NAME, "id": sandbox_id}))
