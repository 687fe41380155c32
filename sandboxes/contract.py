"""The provider contract: what every supplier of sandboxes offers.

All references are plain JSON strings that survive a restart of the process; no SDK object is ever stored. The contract
is asynchronous because the vendors' SDKs are; synchronous callers use `sandboxes.aio.run`.

Sizes are bytes, times are seconds, memory is MiB; each name says which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, NewType, Protocol

from sandboxes.errors import SandboxError

SandboxRef = NewType("SandboxRef", str)
"""JSON text naming one sandbox at one provider, e.g. `{"provider":"local","id":"..."}`."""

SnapshotRef = NewType("SnapshotRef", str)
"""JSON text naming one snapshot; see `SnapshotInfo` for what it says."""

MAX_LINE_BYTES = 1024 * 1024
"""Longest line of the runner protocol, newline included. Larger payloads travel as files."""

INPUT_PREFIX = ".rlm/in/"
"""Where in the workspace files from the host belong; a provider that can keeps them read-only for the code."""


class Isolation(StrEnum):
    """How strongly a sandbox is kept apart from its host, weakest first."""

    CONTAINER = "container"
    GVISOR = "gvisor"
    MICROVM = "microvm"


class SandboxState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    UNKNOWN = "unknown"


class Stability(StrEnum):
    GA = "ga"
    PREVIEW = "preview"
    EXPERIMENTAL = "experimental"


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What a sandbox may reach. `blocked` includes DNS."""

    mode: Literal["blocked", "allowlist", "open"] = "blocked"
    hosts: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """`types` in order of preference, in the provider-neutral spelling (`A100-80GB`, `H100`, `L4`...)."""

    types: tuple[str, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """What a session needs of a sandbox."""

    image: str = ""
    cpu: float = 1.0
    memory_mb: int = 2048
    disk_mb: int = 512
    max_processes: int = 64
    gpu: GpuRequest | None = None
    region: str = ""
    network: NetworkPolicy = NetworkPolicy()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    lifetime_s: int = 24 * 3600
    idle_s: int = 3600
    isolation_min: Isolation = Isolation.CONTAINER
    tier: str = ""
    """Local provider only: `bubblewrap`, `landlock`, ...; empty means the strongest that passed the self-test."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a provider cannot serve a spec, found without the network."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing a provider can do, how well settled it is and, where it is a quantity, how much."""

    value: Any
    stability: Stability = Stability.GA
    note: str = ""


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """The provider's view of one sandbox. `isolation` and `tier` are what it really got."""

    ref: SandboxRef
    state: SandboxState
    isolation: Isolation
    tier: str = ""
    created_at: float = 0.0
    """Unix time in seconds."""
    expires_at: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


SnapshotKind = Literal["fs", "memory"]
"""What a vendor's own snapshot holds: files, or files and running processes. Portable ones are the runner's and work
everywhere; see `sandboxes.manifest`."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A vendor's snapshot. It restores at this vendor only, and where `region` is set, only there."""

    ref: SnapshotRef
    kind: SnapshotKind
    created_at: float
    """Unix time in seconds."""
    expires_at: float | None = None
    size_bytes: int | None = None
    region: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sandbox costs while it is busy. `usd_per_hour` None: the rate is not known, which `note` explains."""

    usd_per_hour: Decimal | None
    as_of: str = ""
    """Date of the rates, ISO 8601."""
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """A finished command. Output past `max_output_bytes` is dropped from the middle and `truncated` says so."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


class Channel(Protocol):
    """A line channel to the runner in one sandbox. Lines are JSON objects without the newline."""

    async def send_line(self, line: bytes) -> None:
        """Send one line of at most `MAX_LINE_BYTES`. Raises `StreamLost`."""

    async def send_lines(self, lines: Sequence[bytes]) -> None:
        """Send several lines in order, in as few writes as the stream allows. Raises `StreamLost`."""

    def lines(self) -> AsyncIterator[bytes]:
        """Lines from the runner in order. Ends when the channel is closed; raises `StreamLost` when it breaks."""

    async def reattach(self) -> None:
        """Open the stream again after `StreamLost`. The runner protocol (`attach`) fills the gap."""

    async def close(self) -> None:
        """Let go of the stream. The sandbox and the runner keep running."""


class Sandbox(Protocol):
    """One running sandbox."""

    ref: SandboxRef

    async def info(self) -> SandboxInfo: ...

    async def exec(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        max_output_bytes: int = 1024 * 1024,
    ) -> ExecResult:
        """Run a command. Raises `ExecTimeout` when it was killed at the deadline; a non-zero exit is a result."""

    async def open_channel(self) -> Channel:
        """A channel to the runner, started on first use. Only one is live at a time: the newest wins."""

    async def write_file(self, path: str, data: bytes) -> None:
        """Write below the workspace; `path` is relative. Raises `InvalidSpec` on a path that escapes it."""

    async def put_file(self, path: str, source: str) -> None:
        """Upload a file of the host (`source`) of any size to `path` below the workspace, read-only for the code."""

    async def read_file(self, path: str, *, max_bytes: int) -> bytes:
        """Raises `NotFound` when missing, `InvalidSpec` when larger than `max_bytes` or outside the workspace."""

    async def get_file(self, path: str, target: str, *, max_bytes: int) -> int:
        """Download `path` of the workspace, whatever its size, to the file `target` of the host; returns its size.

        Raises `NotFound`, or `InvalidSpec` when it is larger than `max_bytes` or not a regular file in the workspace.
        """

    async def open_side(self) -> Channel:
        """A second line to the runner beside that of its host, for `evaluate` only.

        Raises `Unsupported` where the provider has no `live_snapshot`.
        """

    async def extend(self, seconds: float) -> None: ...

    async def snapshot(self, kind: SnapshotKind = "fs", *, label: str = "", ttl_s: float | None = None) -> SnapshotInfo:
        """The vendor's own snapshot; it may end streams, and the channel finds its way back.

        Raises `Unsupported` without the capability (`fs_snapshot`, `memory_snapshot`), `SnapshotFailed`,
        `AlreadyTerminated`.
        """

    async def pause(self) -> None:
        """Stop paying for it and keep its files (and memory where `pause_memory` says so). Raises `Unsupported`."""

    async def resume(self) -> None:
        """Raises `Unsupported`."""

    async def port_url(self, port: int) -> str:
        """Where the world reaches a port of it. Raises `Unsupported`."""

    async def terminate(self) -> None:
        """End it with everything in it. Idempotent: a sandbox that is gone is success."""


class Description(Protocol):
    """What a supplier of sandboxes can do and costs. Uses no network, no credentials and no client of the vendor."""

    name: str

    def capabilities(self) -> Mapping[str, Capability]: ...

    def validate(self, spec: Spec) -> Sequence[Problem]:
        """Why `spec` cannot be served; empty when it can."""

    def estimate(self, spec: Spec) -> Estimate:
        """What an hour costs."""


class Provider(Description, Protocol):
    """One supplier of sandboxes, holding one set of credentials."""

    async def create(self, spec: Spec, *, idempotency_key: str) -> Sandbox:
        """Create, or find the one that an earlier call with the same key created. Raises `SandboxError`."""

    async def get(self, ref: SandboxRef) -> Sandbox:
        """Raises `NotFound` when there is no such sandbox any more."""

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]: ...

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[Sandbox | SandboxError]:
        """Make `count` sandboxes of a snapshot: this is a fork. One that could not be made is an error in its place.

        Raises `Unsupported`, `NotFound`, `SnapshotExpired`, `SnapshotIncompatible`.
        """

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Idempotent: one that is gone is success."""

    async def ping(self) -> str:
        """Check the credentials and the service; returns a line for the user. Raises `SandboxError`."""

    async def close(self) -> None:
        """Let go of connections. Sandboxes go on."""
