"""A provider whose machines are simulated: what a sandbox that waits costs on our side, without what it costs elsewhere."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil

from sandboxes import aio
from sandboxes.contract import ExecResult, Isolation, SandboxInfo, SandboxRef, SandboxState
from sandboxes.frames import State
from sandboxes.link import RunnerLink
from sandboxes.remote.hub import ATTACHED
from sandboxes.remote.machine import BareMachine
from sandboxes.remote.sandbox import RemoteSandbox

CROWD = 1000
ATTACH_TIMEOUT_S = 30.0


class SimulatedStream:
    """A line to a runner that answers `attach` and then has nothing to say."""

    def __init__(self) -> None:
        self._coming: asyncio.Queue[bytes] = asyncio.Queue()
        self._coming.put_nowait(ATTACHED)

    async def send(self, data: bytes) -> None:
        for line in data.splitlines():
            asked: dict[str, Any] = json.loads(line)
            if asked.get("type") == "attach":
                self._coming.put_nowait(msgspec.json.encode(State(id=asked["id"], last_seq=0, first_seq=1)) + b"\n")

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._coming.get():
            yield chunk

    async def close(self) -> None:
        self._coming.put_nowait(b"")


class SimulatedMachine(BareMachine):
    provider = "simulated"
    workspace = "/workspace"
    python: Sequence[str] = ("python3",)

    def __init__(self, number: int) -> None:
        self.ref = SandboxRef(json.dumps({"provider": self.provider, "id": str(number)}))

    async def info(self) -> SandboxInfo:
        return SandboxInfo(self.ref, SandboxState.RUNNING, Isolation.CONTAINER)

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        return ExecResult(0, b"", b"")

    async def open_stream(self, argv: Sequence[str]) -> SimulatedStream:
        return SimulatedStream()

    async def write(self, path: str, data: bytes) -> None:
        """There is no disk."""

    async def upload(self, path: str, source: str) -> None:
        """There is no disk."""

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        return b""

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        return 0

    async def extend(self, seconds: float) -> None:
        """It lives as long as the process."""

    async def terminate(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True)
class Crowd:
    """`bytes_each`: private memory of this process for one sandbox, its streams and its link."""

    bytes_each: float
    threads: int
    note: str


def crowd_of(count: int) -> Crowd:
    """Open `count` sandboxes with their links, look at this process, and let go of them."""
    warm = [_opened(-1 - number) for number in range(10)]  # what is imported and made once is not a sandbox's
    before_bytes, before_threads = _private_bytes(), threading.active_count()
    links = [_opened(number) for number in range(count)]
    after_bytes, after_threads = _private_bytes(), threading.active_count()
    for link in (*warm, *links):
        link.close()
    grown = after_bytes - before_bytes
    return Crowd(grown / count, after_threads - before_threads, f"{grown / 1e6:.1f} MB private memory together")


def _opened(number: int) -> RunnerLink:
    link = RunnerLink(RemoteSandbox(SimulatedMachine(number)), lambda frame: None, lambda error: None)
    link.attach(0, timeout_s=ATTACH_TIMEOUT_S)
    return link


def _private_bytes() -> int:
    aio.run(asyncio.sleep(0))  # what the loop has still to do is done
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)
