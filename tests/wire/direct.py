"""A provider right on the engine, without any wire: what the conformance suite must find to be in order first."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from sandboxes.contract import ExecResult, Isolation, SandboxInfo, SandboxRef, SandboxState
from sandboxes.errors import AlreadyTerminated, ExecTimeout, InvalidSpec, NotFound, StreamLost
from sandboxes.remote.machine import BareMachine
from tests.wire.engine import Box, Engine
from tests.wire.process import Process

PYTHON = os.path.realpath(sys.executable)


class DirectStream:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def send(self, data: bytes) -> None:
        try:
            await self._process.write(data)
        except OSError as error:
            raise StreamLost(str(error)) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        while data := await self._process.stdout.read(65536):
            yield data

    async def close(self) -> None:
        await self._process.close()


class DirectMachine(BareMachine):
    provider = "direct"
    workspace = "/workspace"
    python: Sequence[str] = (PYTHON,)

    def __init__(self, engine: Engine, box: Box) -> None:
        self._engine = engine
        self._box = box
        self.ref = SandboxRef(json.dumps({"provider": self.provider, "id": box.id}))

    def _alive(self) -> Box:
        if not self._box.alive:
            raise AlreadyTerminated(provider=self.provider)
        return self._box

    async def info(self) -> SandboxInfo:
        box = self._alive()
        return SandboxInfo(
            self.ref, SandboxState.RUNNING, Isolation.CONTAINER, "", box.created_at, box.expires_at, dict(box.labels)
        )

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        process = await self._alive().spawn(argv, cwd=cwd, env=env)
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError as error:
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=self.provider) from error
        finally:
            await process.close()
        return ExecResult(await process.wait(), stdout[:max_output_bytes], stderr[:max_output_bytes])

    async def open_stream(self, argv: Sequence[str]) -> DirectStream:
        return DirectStream(await self._alive().spawn(argv))

    async def write(self, path: str, data: bytes) -> None:
        target = self._alive().host_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    async def upload(self, path: str, source: str) -> None:
        await self.write(path, await asyncio.to_thread(Path(source).read_bytes))

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        target = self._alive().host_path(path)
        if not target.is_file():
            raise NotFound(f"there is no file {path}", provider=self.provider)
        if target.stat().st_size > max_bytes:
            raise InvalidSpec(f"{path} is larger than {max_bytes} bytes", provider=self.provider)
        return target.read_bytes()

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        data = await self.read(path, max_bytes=max_bytes)
        return await asyncio.to_thread(Path(target).write_bytes, data)

    async def extend(self, seconds: float) -> None:
        box = self._alive()
        box.expires_at = (box.expires_at or 0) + seconds

    async def terminate(self) -> None:
        self._engine.terminate(self._box.id)
