"""One sandbox behind our own Worker (`worker/worker.js`), which says what it has of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sandboxes.contract import Isolation, SandboxInfo, SandboxRef, SandboxState, SnapshotInfo, SnapshotKind, SnapshotRef
from sandboxes.errors import AlreadyTerminated, ExecTimeout, InvalidSpec, NotFound, ProviderUnavailable, StreamLost
from sandboxes.providers.cloudflare.client import WorkerClient
from sandboxes.providers.cloudflare.errors import malformed
from sandboxes.providers.cloudflare.events import result_of
from sandboxes.remote.bundle import line_source
from sandboxes.remote.text import FILE_TIMEOUT_S, LINE, TextMachine, _word

NAME = "cloudflare_worker"
QUIET_S = 600.0
SNAPSHOT_S = 600.0
NO_SUCH_FILE = "can't open file"


class PipeStream:
    """Standard input and output of one process over a WebSocket; the process ends with it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise StreamLost(f"the pipe broke: {error}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            try:
                message = await self._connection.recv()
            except ConnectionClosed as error:
                raise StreamLost(f"the pipe broke: {error}", provider=NAME) from error
            if isinstance(message, str):
                return  # the process has ended
            yield message

    async def close(self) -> None:
        await self._connection.close()


class WorkerMachine(TextMachine):
    provider = NAME

    def __init__(self, client: WorkerClient, id: str, *, python: Sequence[str], tier: str) -> None:
        self.python = python
        self.ref = SandboxRef(json.dumps({"provider": NAME, "url": client.url, "id": id}))
        self.path = f"/v1/sandbox/{id}"
        self._client = client
        self._tier = tier

    async def info(self) -> SandboxInfo:
        return info_of(self.ref, await self._client.call_mapping("GET", self.path), self._tier)

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        request = {"argv": list(words)}
        try:
            async with asyncio.timeout(timeout_s):
                async with self._client.opened(
                    "POST", f"{self.path}/exec", json=request, timeout_s=QUIET_S
                ) as response:
                    return await result_of(response)
        except TimeoutError as error:
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from error
        except NotFound as error:
            raise AlreadyTerminated(str(error), provider=NAME, status=error.status) from error

    async def prepare(self) -> None:
        """Two at once do no harm: each writes a file of its own and moves it."""
        path, source = f"{self.workspace}/{LINE}", line_source().encode()
        word = _word(source)
        line = 'mkdir -p "${1%/*}" && printf %s "$2" | base64 -d > "$1.$$" && mv "$1.$$" "$1"'
        code, _, error = await self.command(["sh", "-c", line, "sh", path, word], FILE_TIMEOUT_S)
        if code != 0:
            raise InvalidSpec(f"the sandbox cannot be prepared (it needs sh and base64): {error[-500:]}", provider=NAME)

    async def _line(self, words: Sequence[str], timeout_s: float = FILE_TIMEOUT_S) -> str:
        """`line.py` is put there when it turns out to be missing: nothing has run then."""
        command = [*self.python, f"{self.workspace}/{LINE}", *words]
        code, output, error = await self.command(command, timeout_s)
        if code == 2 and NO_SUCH_FILE in error:
            await self.prepare()
            code, output, error = await self.command(command, timeout_s)
        if code != 0:
            raise ProviderUnavailable(f"{words[0]} failed in the sandbox: {error[-500:]}", provider=NAME)
        return output

    async def open_stream(self, argv: Sequence[str]) -> PipeStream:
        try:
            return PipeStream(await self._client.connect(f"{self.path}/pipe?argv={quote(json.dumps(list(argv)))}"))
        except NotFound as error:
            raise AlreadyTerminated(str(error), provider=NAME, status=error.status) from error

    async def extend(self, seconds: float) -> None:
        await self._client.call("POST", f"{self.path}/extend", json={"seconds": seconds})

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        if kind != "fs":
            return await super().snapshot(kind, label=label, ttl_s=ttl_s)
        request = {"name": label, "ttl_s": ttl_s}
        try:
            taken = await self._client.call_mapping("POST", f"{self.path}/snapshot", json=request, timeout_s=SNAPSHOT_S)
        except NotFound as error:
            raise AlreadyTerminated(str(error), provider=NAME, status=error.status) from error
        try:
            ref = json.dumps({"provider": NAME, "url": self._client.url, "snapshot": str(taken["id"])})
            ends = taken.get("expires_at")
            size = taken.get("size")
            return SnapshotInfo(
                SnapshotRef(ref),
                "fs",
                float(taken["created_at"]),
                float(ends) if ends is not None else None,
                int(size) if size is not None else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise malformed(f"a snapshot: {taken}", NAME) from error

    async def terminate(self) -> None:
        await self._client.call("DELETE", self.path)


def info_of(ref: SandboxRef, said: Mapping[str, Any], tier: str) -> SandboxInfo:
    try:
        labels = {str(name): str(value) for name, value in said["labels"].items()}
        times = float(said["created_at"]), float(said["expires_at"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed(f"a sandbox: {said}", NAME) from error
    return SandboxInfo(ref, SandboxState.RUNNING, Isolation.CONTAINER, tier, *times, labels)
