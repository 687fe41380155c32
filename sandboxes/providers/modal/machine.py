"""One sandbox of Modal as a machine. Files go through commands too: the vendor's own calls for files start a program of
its own in the sandbox for each piece, and take text where a name is not UTF-8."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import modal
from modal.stream_type import StreamType

from sandboxes.contract import ExecResult, SandboxInfo, SandboxRef, SnapshotInfo, SnapshotKind
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    SandboxError,
    Unsupported,
)
from sandboxes.providers.modal import snapshots
from sandboxes.providers.modal.client import Client
from sandboxes.providers.modal.description import NAME
from sandboxes.providers.modal.errors import translated
from sandboxes.providers.modal.options import info_of
from sandboxes.providers.modal.process import PIECE_BYTES, ProcessStream, carry_through, end_input, finish, send
from sandboxes.remote.machine import BareMachine
from sandboxes.remote.shell import IN_FOLDER, KILL_MARKED, RUN_MARK

GRACE_S = 15.0
TRANSFER_TIMEOUT_S = 1800.0
LINE_OUTPUT_BYTES = 4096
NO_SUCH_FILE = 44
NO_INPUT = " </dev/null"  # ending the input would be one more call
WRITE = 'mkdir -p "$(dirname "$1")" && cat > "$1.part" && mv -f "$1.part" "$1"'
READ = f'[ -f "$1" ] || exit {NO_SUCH_FILE}; exec head -c "$2" "$1"'


class ModalMachine(BareMachine):
    provider = NAME

    def __init__(self, client: Client, sandbox: modal.Sandbox, workspace: str, python: Sequence[str]) -> None:
        self.workspace = workspace
        self.python = python
        self.id = sandbox.object_id
        self.ref = reference(self.id)
        self._client = client
        self._sandbox: Any = sandbox
        self._ended = False

    async def info(self) -> SandboxInfo:
        if self._ended:
            raise NotFound(f"sandbox {self.id} was ended", provider=NAME)
        with translated():
            if await self._sandbox.poll.aio() is not None:
                raise NotFound(f"there is no sandbox {self.id} any more", provider=NAME)
            return info_of(self.ref, await self._sandbox.get_tags.aio())

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        """A call into the sandbox. When it fails, whether the sandbox is there says more than how it failed."""
        if self._ended:
            raise AlreadyTerminated(f"sandbox {self.id} was ended", provider=NAME)
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
            await self.info()
        except NotFound:
            raise AlreadyTerminated(f"there is no sandbox {self.id} any more", provider=NAME) from failure
        except SandboxError:
            return  # the first failure is the one to tell of

    # Commands -------------------------------------------------------------------------------------------------------

    async def _start(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float | None = None,
        stderr: StreamType = StreamType.PIPE,
    ) -> Any:
        """`timeout_s`: the vendor's own deadline, which ends the one process only; ours comes before it."""
        limit = math.ceil(timeout_s + GRACE_S) if timeout_s is not None else None
        return await self._sandbox.exec.aio(*words, timeout=limit, env=dict(env), text=False, stderr=stderr)

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        words = ["/bin/sh", "-c", IN_FOLDER + NO_INPUT, "sh", self.workspace, cwd or self.workspace, *argv]
        return await self._run(words, env, timeout_s, max_output_bytes)

    async def _run(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        timeout_s: float,
        max_output_bytes: int,
        feed: Callable[[Any], Any] | None = None,
        take: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        mark = uuid4().hex
        async with self._calling():
            try:
                async with asyncio.timeout(timeout_s):
                    process = await self._start(words, env={**env, RUN_MARK: mark}, timeout_s=timeout_s)
                    return await carry_through(process, feed, max_output_bytes, take)
            except TimeoutError as error:
                await self._kill_marked(mark)
                raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from error
            except SandboxError:
                await self._kill_marked(mark)  # it may run all the same, and whoever tries again would have two
                raise

    async def _kill_marked(self, mark: str) -> None:
        with contextlib.suppress(SandboxError, TimeoutError), translated():
            async with asyncio.timeout(GRACE_S):
                words = ["/bin/sh", "-c", KILL_MARKED, "sh", f"{RUN_MARK}={mark}"]
                await finish(await self._start(words, env={}, timeout_s=GRACE_S), LINE_OUTPUT_BYTES)

    async def open_stream(self, argv: Sequence[str]) -> ProcessStream:
        words = ["/bin/sh", "-c", IN_FOLDER, "sh", self.workspace, self.workspace, *argv]
        async with self._calling():
            return ProcessStream(await self._start(words, env={}, stderr=StreamType.DEVNULL))

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        async def feed(process: Any) -> None:
            await send(process, data)
            await end_input(process)

        await self._write(path, feed)

    async def upload(self, path: str, source: str) -> None:
        with await asyncio.to_thread(open, source, "rb") as file:

            async def feed(process: Any) -> None:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    await send(process, piece)
                await end_input(process)

            await self._write(path, feed)

    async def _write(self, path: str, feed: Callable[[Any], Any]) -> None:
        """The file is there, whole, or it is not there."""
        words = ["/bin/sh", "-c", WRITE, "sh", path]
        done = await self._run(words, {}, TRANSFER_TIMEOUT_S, LINE_OUTPUT_BYTES, feed)
        if done.exit_code != 0:
            why = done.stderr.decode("utf-8", "replace").strip()[:500]
            raise InvalidSpec(f"{path} was not written: {why or f'exit code {done.exit_code}'}", provider=NAME)

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        found = bytearray()
        await self._copy(path, found.extend, max_bytes)
        return bytes(found)

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        with await asyncio.to_thread(open, target, "wb") as file:
            return await self._copy(path, file.write, max_bytes)

    async def _copy(self, path: str, write: Callable[[bytes], Any], max_bytes: int) -> int:
        """In constant memory; one byte more than was asked for tells that there is more."""
        count = 0

        def take(chunk: bytes) -> None:
            nonlocal count
            count += len(chunk)
            write(chunk)

        words = ["/bin/sh", "-c", READ, "sh", path, str(max_bytes + 1)]
        done = await self._run(words, {}, TRANSFER_TIMEOUT_S, LINE_OUTPUT_BYTES, take=take)
        if done.exit_code == NO_SUCH_FILE:
            raise NotFound(f"there is no file {path}", provider=NAME)
        if done.exit_code != 0:
            why = done.stderr.decode("utf-8", "replace").strip()[:500]
            raise ProviderUnavailable(f"{path} was not read: {why or f'exit code {done.exit_code}'}", provider=NAME)
        if count > max_bytes:
            raise InvalidSpec(f"{path} has more than {max_bytes} bytes", provider=NAME)
        return count

    # Snapshots and life ---------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """The vendor has no names for snapshots. `memory`: raises `Unsupported` where the sandbox was not made for it."""
        started_at = time.time()
        async with self._calling():
            if kind == "memory":
                return await snapshots.take_memory(self._sandbox, started_at)
            return await snapshots.take_files(self._sandbox, started_at, ttl_s)

    async def extend(self, seconds: float) -> None:
        raise Unsupported("extend", provider=NAME)

    async def terminate(self) -> None:
        if self._ended:
            return
        with contextlib.suppress(NotFound, AlreadyTerminated), translated():
            await self._sandbox.terminate.aio()
        self._ended = True
        with translated():
            await self._sandbox.detach.aio()  # the connection to it would stay until this object is collected


def reference(sandbox_id: str) -> SandboxRef:
    return SandboxRef(json.dumps({"provider": NAME, "id": sandbox_id}))
