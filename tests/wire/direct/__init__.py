"""A provider right on the engine, without any wire: what the conformance suite must find to be in order first."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from sandboxes.contract import (
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
from sandboxes.errors import (
    AlreadyTerminated,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    SandboxError,
    SnapshotExpired,
    StreamLost,
    Unsupported,
)
from sandboxes.remote.machine import BareMachine, Machine
from sandboxes.remote.sandbox import RemoteSandbox
from sandboxes.remote.text import TextMachine
from tests.wire.engine import Box, Engine, NoSuchBox
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
        cut = max(len(stdout), len(stderr)) > max_output_bytes
        return ExecResult(await process.wait(), stdout[:max_output_bytes], stderr[:max_output_bytes], cut)

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

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        if kind == "memory":
            raise Unsupported("memory_snapshot", provider=self.provider)
        taken = self._engine.take_snapshot(self._alive().id, lifetime_s=ttl_s)
        ref = SnapshotRef(json.dumps({"provider": self.provider, "snapshot": taken.id}))
        return SnapshotInfo(ref, kind, taken.created_at, taken.expires_at)

    async def terminate(self) -> None:
        self._engine.terminate(self._box.id)


class DirectProvider:
    name = "direct"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys: dict[str, str] = {}

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True),
            "memory_snapshot": Capability(False),
            "live_snapshot": Capability(True),
            "idempotent_create": Capability(True),
            "reattach": Capability(True),
            "list": Capability(True),
            "labels": Capability(True),
            "extend": Capability(True),
            "pause": Capability(False),
            "port_url": Capability(False),
            "gpus": Capability(()),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = [Problem("gpu", "there is no GPU")] if spec.gpu else []
        if not 64 <= spec.memory_mb <= 1 << 20:
            problems.append(Problem("memory_mb", "memory_mb is at least 64 and at most a tebibyte"))
        if not 0.05 <= spec.cpu <= 1024:
            problems.append(Problem("cpu", "cpu is at least 0.05 and at most 1024 cores"))
        return problems

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=self.name)
        return await self._make(spec, idempotency_key, "")

    def _machine(self, box: Box) -> Machine:
        return DirectMachine(self._engine, box)

    async def _make(self, spec: Spec, key: str, snapshot: str) -> RemoteSandbox:
        known = self._keys.get(key) if key else None
        box = self._engine.boxes.get(known) if known else None
        if box is None or not box.alive:
            box = self._engine.create(labels=spec.labels, env=spec.env, snapshot=snapshot, lifetime_s=spec.lifetime_s)
            self._keys[key] = box.id
        machine = self._machine(box)
        if isinstance(machine, TextMachine):
            await machine.prepare()
        return RemoteSandbox(machine, spec)

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        try:
            return RemoteSandbox(self._machine(self._engine.box(self._id(ref))))
        except (NoSuchBox, KeyError, ValueError, TypeError) as error:
            raise NotFound(f"there is no sandbox {ref[:100]}", provider=self.name) from error

    def _id(self, ref: SandboxRef) -> str:
        named = json.loads(ref)
        if named["provider"] != self.name:
            raise KeyError("provider")
        return str(named["id"])

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        return [await self._machine(box).info() for box in self._engine.find(labels)]

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        id = str(json.loads(snapshot)["snapshot"])
        known = self._engine.snapshots.get(id)
        if known is None:
            raise NotFound(f"there is no snapshot {id}", provider=self.name)
        if known.expired:
            raise SnapshotExpired(f"snapshot {id} has expired", provider=self.name)
        return [await self._make(spec, f"{idempotency_key}-{number}", id) for number in range(count)]

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self._engine.delete_snapshot(str(json.loads(snapshot)["snapshot"]))

    def estimate(self, spec: Spec) -> Estimate:
        return Estimate(None, note="nobody pays for it")

    async def ping(self) -> str:
        return "the engine itself"

    async def close(self) -> None:
        """It holds nothing."""
