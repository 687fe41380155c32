"""The local provider: sandboxes of the local sandbox service, over its unix socket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from sandboxes.contract import (
    MAX_LINE_BYTES,
    Capability,
    Estimate,
    ExecResult,
    Isolation,
    Problem,
    SandboxInfo,
    SandboxRef,
    SandboxState,
    SnapshotInfo,
    SnapshotKind,
    SnapshotRef,
    Spec,
)
from sandboxes.errors import InvalidSpec, NotFound, ProtocolViolation, SandboxError, StreamLost, Unsupported
from sandboxes.local import gpus
from sandboxes.local.client import ServiceClient, default_socket
from sandboxes.relay import REPLACED

NAME = "local"
READ_CHUNK_BYTES = 2 * 1024 * 1024
WRITE_INLINE_BYTES = 8 * 1024 * 1024
SPEC_FIELDS = ("tier", "cpu", "memory_mb", "disk_mb", "max_processes", "lifetime_s", "idle_s")


class LocalProvider:
    """Sandboxes on this machine. The service is started when it is missing, unless `autostart` is off.

    By default it is off where the environment names the socket: whoever named it (the supervisor of `manage.py up`, a
    container) runs the service there, and a second one would outlive it.
    """

    name = NAME

    def __init__(self, socket: str | Path = "", *, autostart: bool | None = None, pool: int | None = None) -> None:
        if autostart is None:
            autostart = not os.environ.get("RLMWEB_LOCAL_SANDBOX_SOCKET")
        path = Path(socket) if socket else default_socket()
        self._client = ServiceClient(path, autostart=autostart, pool=pool)

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(False),
            "memory_snapshot": Capability(False),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "reattach": Capability(True),
            "stdin": Capability("pipe"),
            "net_block": Capability(True, note="always blocked"),
            "net_allow_hosts": Capability(False),
            "gpus": Capability([]),
            "list": Capability(True),
            "labels": Capability(True),
            "max_file_bytes": Capability(None, note="no limit for put_file; write_file is bounded by the disk limit"),
            "idempotent_create": Capability(True),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = []
        if spec.gpu:
            try:
                gpus.choose(gpus.found(), spec.gpu.types, spec.gpu.count)
            except InvalidSpec as error:
                problems.append(Problem("gpu", str(error)))
        if spec.network.mode != "blocked":
            problems.append(Problem("network", "local sandboxes have no network"))
        if spec.isolation_min is not Isolation.CONTAINER:
            problems.append(Problem("isolation_min", f"local sandboxes are containers, not {spec.isolation_min.value}"))
        if spec.image:
            problems.append(Problem("image", "local sandboxes run the Python of this machine, not an image"))
        for field, low in (("cpu", 0.05), ("memory_mb", 64), ("disk_mb", 1), ("max_processes", 4)):
            if getattr(spec, field) < low:
                problems.append(Problem(field, f"{field} must be at least {low}"))
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
        if spec.memory_mb > memory_mb:
            problems.append(Problem("memory_mb", f"memory_mb is {spec.memory_mb}, and this machine has {memory_mb}"))
        return problems

    async def create(self, spec: Spec, *, idempotency_key: str) -> LocalSandbox:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)
        fields = {name: getattr(spec, name) for name in SPEC_FIELDS}
        fields |= {"env": dict(spec.env), "labels": dict(spec.labels)}
        if spec.gpu:
            fields |= {"gpu_types": list(spec.gpu.types), "gpu_count": spec.gpu.count}
        info = await self._client.request("create", spec=fields, key=idempotency_key)
        return LocalSandbox(self._client, info)

    async def get(self, ref: SandboxRef) -> LocalSandbox:
        return LocalSandbox(self._client, await self._client.request("get", box=box_id(ref)))

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        reply = await self._client.request("list", labels=dict(labels))
        return [sandbox_info(info) for info in reply["boxes"]]

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[LocalSandbox | SandboxError]:
        raise Unsupported("fs_snapshot", provider=NAME)

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        raise Unsupported("fs_snapshot", provider=NAME)

    def estimate(self, spec: Spec) -> Estimate:
        return Estimate(Decimal(0), note="this machine's own")

    async def ping(self) -> str:
        reply = await self._client.request("ping")
        refused = "; ".join(f"{name}: {reason}" for name, reason in reply["tiers"].items() if reason)
        return f"local sandbox service, tier {reply['tier']}" + (f" (not available: {refused})" if refused else "")

    async def tiers(self) -> Mapping[str, str]:
        """The reason against each tier of isolation on this machine, strongest first; empty: it passed the self-test."""
        reply = await self._client.request("ping")
        return {str(name): str(reason) for name, reason in reply["tiers"].items()}

    async def waiting(self) -> int:
        """How many sandboxes wait in the pool of the service."""
        return int((await self._client.request("ping"))["pool"])

    async def close(self) -> None:
        """Let go of the connection. The service and its sandboxes go on."""
        await self._client.close()


def box_id(ref: SandboxRef) -> str:
    """Raises `NotFound` when `ref` is not one of ours."""
    try:
        value = json.loads(ref)
        if value["provider"] == NAME and isinstance(value["id"], str):
            return str(value["id"])
    except (ValueError, KeyError, TypeError):
        pass
    raise NotFound("not a reference to a local sandbox", provider=NAME)


def sandbox_info(info: Mapping[str, Any]) -> SandboxInfo:
    return SandboxInfo(
        ref=SandboxRef(json.dumps({"provider": NAME, "id": info["id"]})),
        state=SandboxState(info["state"]),
        isolation=Isolation(info["isolation"]),
        tier=info["tier"],
        created_at=info["created_at"],
        expires_at=info["expires_at"],
        labels=info["labels"],
    )


class LocalSandbox:
    def __init__(self, client: ServiceClient, info: Mapping[str, Any]) -> None:
        self.ref = sandbox_info(info).ref
        self._client = client
        self._id: str = info["id"]

    async def info(self) -> SandboxInfo:
        return sandbox_info(await self._client.request("get", box=self._id))

    async def exec(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        max_output_bytes: int = 1024 * 1024,
    ) -> ExecResult:
        reply = await self._client.request(
            "exec",
            box=self._id,
            argv=list(argv),
            timeout_s=timeout_s,
            cwd=cwd,
            env=dict(env or {}),
            max_output_bytes=max_output_bytes,
        )
        stdout, stderr = (base64.b64decode(reply[name]) for name in ("stdout", "stderr"))
        return ExecResult(reply["exit_code"], stdout, stderr, reply["truncated"])

    async def open_channel(self) -> LocalChannel:
        channel = LocalChannel(self._client, self._id)
        await channel.reattach()
        return channel

    async def open_side(self) -> LocalChannel:
        channel = LocalChannel(self._client, self._id, "side")
        await channel.reattach()
        return channel

    async def write_file(self, path: str, data: bytes) -> None:
        if len(data) > WRITE_INLINE_BYTES:
            raise InvalidSpec(f"write_file takes at most {WRITE_INLINE_BYTES} bytes; use put_file", provider=NAME)
        await self._client.request("write_file", box=self._id, path=path, data=base64.b64encode(data).decode())

    async def put_file(self, path: str, source: str) -> None:
        await self._client.request(
            "put_file", box=self._id, path=path, source=await asyncio.to_thread(os.path.abspath, source)
        )

    async def read_file(self, path: str, *, max_bytes: int) -> bytes:
        data = bytearray()
        while True:
            reply = await self._client.request(
                "read_file", box=self._id, path=path, offset=len(data), max_bytes=READ_CHUNK_BYTES
            )
            if reply["size_bytes"] > max_bytes:
                message = f"{path} has {reply['size_bytes']} bytes, more than the {max_bytes} that were asked for"
                raise InvalidSpec(message, provider=NAME)
            chunk = base64.b64decode(reply["data"])
            data += chunk
            # An empty chunk before the end: the file was cut while it was read.
            if len(data) >= reply["size_bytes"] or not chunk:
                return bytes(data[:max_bytes])

    async def get_file(self, path: str, target: str, *, max_bytes: int) -> int:
        reply = await self._client.request(
            "get_file",
            box=self._id,
            path=path,
            target=await asyncio.to_thread(os.path.abspath, target),
            max_bytes=max_bytes,
        )
        return int(reply["size_bytes"])

    async def extend(self, seconds: float) -> None:
        await self._client.request("extend", box=self._id, seconds=int(seconds))

    async def snapshot(self, kind: SnapshotKind = "fs", *, label: str = "", ttl_s: float | None = None) -> SnapshotInfo:
        raise Unsupported(f"{kind}_snapshot", provider=NAME)

    async def pause(self) -> None:
        raise Unsupported("pause", provider=NAME)

    async def resume(self) -> None:
        raise Unsupported("pause", provider=NAME)

    async def port_url(self, port: int) -> str:
        raise Unsupported("port_url", provider=NAME)

    async def terminate(self) -> None:
        await self._client.request("terminate", box=self._id)


class LocalChannel:
    """A connection to the service that has become a line to the runner: that of its host, or one beside it."""

    def __init__(self, client: ServiceClient, box: str, operation: Literal["channel", "side"] = "channel") -> None:
        self._client = client
        self._box = box
        self._operation = operation
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._closed = False

    async def reattach(self) -> None:
        """Connect anew. Raises `NotFound` when the sandbox is gone, `ProviderUnavailable` when the service is."""
        await self._disconnect()
        self._reader, self._writer = await self._client.connect_line(self._operation, self._box)

    async def send_line(self, line: bytes) -> None:
        await self.send_lines([line])

    async def send_lines(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if len(line) >= MAX_LINE_BYTES or b"\n" in line:
                raise InvalidSpec(f"a line of {len(line)} bytes is too long or holds a newline", provider=NAME)
        if self._writer is None:
            raise StreamLost("the channel is not open", provider=NAME)
        try:
            self._writer.write(b"".join(line + b"\n" for line in lines))
            await self._writer.drain()
        except OSError as error:
            raise StreamLost(f"the channel broke: {error}", provider=NAME) from error

    async def lines(self) -> AsyncIterator[bytes]:
        while self._reader is not None:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                raise ProtocolViolation("the runner sent a line that is too long", provider=NAME) from error
            except (asyncio.IncompleteReadError, OSError) as error:
                if self._closed:
                    return
                raise StreamLost("the channel to the runner broke", provider=NAME) from error
            if line.endswith(REPLACED + b"\n"):
                raise StreamLost("another host has taken the runner over", resumable=False, provider=NAME)
            yield line[:-1]

    async def close(self) -> None:
        self._closed = True
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._writer:
            self._writer.close()
        self._reader = self._writer = None
