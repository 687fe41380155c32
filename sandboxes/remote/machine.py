"""What an adapter supplies: one machine at a vendor, with the few operations that all of them have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from sandboxes.contract import ExecResult, SandboxInfo, SandboxRef, SnapshotInfo, SnapshotKind
from sandboxes.errors import Unsupported


class ByteStream(Protocol):
    """Standard input and output of one process in the sandbox."""

    async def send(self, data: bytes) -> None:
        """Raises `StreamLost`."""

    def chunks(self) -> AsyncIterator[bytes]:
        """What the process writes to standard output. Ends when the process does; raises `StreamLost`."""

    async def close(self) -> None:
        """Let go of the stream, and of the process when the vendor ties them together. Never fails."""


class Machine(Protocol):
    """One sandbox of a vendor. Paths are absolute. Every method raises `SandboxError`s only."""

    ref: SandboxRef
    workspace: str
    """Absolute path of the folder that snapshots hold, e.g. `/workspace`."""
    python: Sequence[str]
    """Command of a Python 3.9 or later in the image."""
    framed: bool
    """Do its streams carry text only, or repeat input? Then the line's bytes are numbered and encoded."""

    async def info(self) -> SandboxInfo: ...

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        """Raises `ExecTimeout` when it was killed at the deadline, with its process tree."""

    async def open_stream(self, argv: Sequence[str]) -> ByteStream:
        """Start a process; bytes pass unchanged both ways."""

    async def write(self, path: str, data: bytes) -> None:
        """Folders on the way are made."""

    async def upload(self, path: str, source: str) -> None:
        """A file of the host of any size, in constant memory."""

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        """Raises `NotFound`, or `InvalidSpec` when it is larger."""

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        """To a file of the host, in constant memory; returns its size. Raises as `read`."""

    async def extend(self, seconds: float) -> None: ...

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo: ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def port_url(self, port: int) -> str: ...

    async def terminate(self) -> None:
        """Idempotent."""


class BareMachine:
    """What a vendor does not have, for adapters to inherit."""

    provider = ""
    framed = False

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        raise Unsupported(f"{kind}_snapshot", provider=self.provider)

    async def pause(self) -> None:
        raise Unsupported("pause", provider=self.provider)

    async def resume(self) -> None:
        raise Unsupported("pause", provider=self.provider)

    async def port_url(self, port: int) -> str:
        raise Unsupported("port_url", provider=self.provider)
