"""The engine as a vendor would show it that knows text only: one mixed-up stream, commands as lines, no files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

from sandboxes.contract import ExecResult, SandboxInfo, SandboxRef, SnapshotInfo, SnapshotKind
from sandboxes.remote.text import TextMachine
from tests.wire.direct import PYTHON, DirectMachine, DirectProvider, DirectStream
from tests.wire.engine import Box, Engine
from tests.wire.faults import Faults


class ForgetfulStream(DirectStream):
    """Text, cut into odd pieces; what is sent arrives twice where the switch says so."""

    def __init__(self, stream: DirectStream, faults: Faults) -> None:
        super().__init__(stream._process)
        self._faults = faults

    async def send(self, data: bytes) -> None:
        text = data.decode("ascii").encode()
        for _ in range(2 if self._faults.replay_stdin else 1):
            await super().send(text)

    async def chunks(self) -> AsyncIterator[bytes]:
        async for data in super().chunks():
            for start in range(0, len(data), 1021):
                yield data[start : start + 1021].decode("ascii").encode()


class DirectTextMachine(TextMachine):
    provider = "direct_text"
    python: Sequence[str] = (PYTHON,)

    def __init__(self, engine: Engine, box: Box, faults: Faults) -> None:
        self._direct = DirectMachine(engine, box)
        self._faults = faults
        self.ref = SandboxRef(json.dumps({"provider": self.provider, "id": box.id}))

    async def info(self) -> SandboxInfo:
        info = await self._direct.info()
        return SandboxInfo(
            self.ref, info.state, info.isolation, "", info.created_at, info.expires_at, dict(info.labels)
        )

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        done: ExecResult = await self._direct.run(
            words, timeout_s=timeout_s, cwd="/workspace", env={}, max_output_bytes=1 << 26
        )
        return done.exit_code, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    async def open_stream(self, argv: Sequence[str]) -> ForgetfulStream:
        return ForgetfulStream(await self._direct.open_stream(argv), self._faults)

    async def extend(self, seconds: float) -> None:
        await self._direct.extend(seconds)

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        return await self._direct.snapshot(kind, label=label, ttl_s=ttl_s)

    async def terminate(self) -> None:
        await self._direct.terminate()


class DirectTextProvider(DirectProvider):
    name = "direct_text"

    def __init__(self, engine: Engine, faults: Faults) -> None:
        super().__init__(engine)
        self._faults = faults

    def _machine(self, box: Box) -> DirectTextMachine:
        return DirectTextMachine(self._engine, box, self._faults)
