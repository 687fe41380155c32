"""One sandbox of Blaxel as a machine. Commands go as text through `line.py`; files go as they are."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

from sandboxes.contract import SandboxInfo, SandboxRef, SandboxState, SnapshotInfo, SnapshotKind
from sandboxes.errors import ExecTimeout, InvalidSpec, NotFound, NotReady, ProviderUnavailable, SandboxError, StreamLost
from sandboxes.providers.blaxel import snapshots
from sandboxes.providers.blaxel.api import SandboxApi
from sandboxes.providers.blaxel.client import BlaxelClient, Deadline, mapping
from sandboxes.providers.blaxel.errors import NAME
from sandboxes.providers.blaxel.options import gone, info_of, max_age_s
from sandboxes.providers.blaxel.stream import ProcessStream
from sandboxes.remote.bundle import line_source
from sandboxes.remote.text import FILE_TIMEOUT_S, LINE, TextMachine

READY_S = 300.0
INLINE_BYTES = 48_000
"""Output up to here is in the result, which holds the last 64 KB of a stream; more is fetched as a file."""
OUTPUT_BYTES = 1 << 28
NO_SUCH_FILE = "can't open file"
SWEEP = r"""
import os
for name in os.listdir("/proc"):
    try:
        if name.isdigit() and b".rlm/" b"line/" in open("/proc/" + name + "/cmdline", "rb").read():
            os.kill(int(name), 9)
    except OSError:
        pass
try:
    os.unlink(".rlm/line/socket")
except OSError:
    pass
"""
"""A copy of a sandbox has a running copy of its runner. Who asked for files gets files: it is ended."""


class BlaxelMachine(TextMachine):
    """`fresh`: nothing of ours is in it yet. `document`: what the control plane said about it last."""

    provider = NAME

    def __init__(
        self,
        client: BlaxelClient,
        document: Mapping[str, Any],
        *,
        python: Sequence[str],
        poll_s: float,
        can_snapshot: bool,
        fresh: bool = False,
    ) -> None:
        metadata = mapping(document.get("metadata"))
        self.name = str(metadata.get("name") or "")
        self.python = python
        self.ref = SandboxRef(json.dumps({"provider": NAME, "workspace": client.workspace, "id": self.name}))
        self._client = client
        self._url = client.url(f"/sandboxes/{quote(self.name, safe='')}")
        self._api = SandboxApi(client, str(metadata.get("url") or ""), poll_s=poll_s)
        self._poll_s = poll_s
        self._can_snapshot = can_snapshot
        self._fresh = fresh
        self._old_image = False

    async def document(self) -> dict[str, Any]:
        """Raises `NotFound`, also for the record that stays for minutes after the end."""
        found = mapping(await self._client.call("GET", self._url, again=True))
        if gone(found):
            raise NotFound(f"sandbox {self.name} has ended", provider=NAME)
        return found

    async def info(self) -> SandboxInfo:
        return info_of(self.ref, await self.document())

    async def wait_until_ready(self, document: Mapping[str, Any]) -> None:
        deadline = Deadline(READY_S)
        while True:
            state = info_of(self.ref, document).state
            if state in (SandboxState.RUNNING, SandboxState.PAUSED):
                return
            if state is not SandboxState.STARTING or deadline.over:
                raise NotReady(
                    f"sandbox {self.name} is {document.get('status')}; see its events at Blaxel", provider=NAME
                )
            await asyncio.sleep(self._poll_s)
            document = await self.document()

    # Commands -------------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        await self.write(f"{self.workspace}/{LINE}", line_source().encode())
        self._fresh = False

    async def _line(self, words: Sequence[str], timeout_s: float = FILE_TIMEOUT_S) -> str:
        """`line.py` is put there when it turns out to be missing: nothing has run then."""
        if self._fresh:
            await self.prepare()
        command = [*self.python, f"{self.workspace}/{LINE}", *words]
        code, output, error = await self.command(command, timeout_s)
        if code == 2 and NO_SUCH_FILE in error:
            await self.prepare()
            code, output, error = await self.command(command, timeout_s)
        if code == 127:
            raise InvalidSpec(f"the image has no {self.python[0]}: {error[-300:]}", provider=NAME)
        if code != 0:
            raise ProviderUnavailable(f"{words[0]} failed in the sandbox: {error[-500:]}", provider=NAME)
        return output

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        name = f"rlm-{uuid4().hex}"
        kept = f"/tmp/{name}"  # noqa: S108  # nosec B108  # of the sandbox, and nobody can guess it
        line = (
            f'{shlex.join(words)} > {kept}; code=$?; if [ "$(wc -c < {kept})" -le {INLINE_BYTES} ]; '
            f"then cat {kept}; rm -f {kept}; else printf {name}; fi; exit $code"
        )
        try:
            async with asyncio.timeout(timeout_s):
                code, output, error = await self._api.run(name, line, timeout_s=timeout_s)
        except TimeoutError as late:
            with contextlib.suppress(SandboxError):
                await self._api.kill(name)
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from late
        if output == name:
            text = io.BytesIO()
            await self._api.get(kept, text, max_bytes=OUTPUT_BYTES)
            await self._api.remove(kept)
            output = text.getvalue().decode("utf-8", "replace")
        return code, output, error

    async def open_stream(self, argv: Sequence[str]) -> ProcessStream:
        """With a pipe of the API where the image has that, else with one of our own."""
        name, pipe = f"rlm-{uuid4().hex}", ""
        command = f"exec {shlex.join(argv)} 2>/dev/null"
        if not self._old_image:
            started = await self._api.start(name, command, timeout_s=0, wait=False, stdin=True)
            self._old_image = started.get("stdin") is not True
        if self._old_image:
            name = f"rlm-{uuid4().hex}"
            pipe = f"/tmp/{name}"  # noqa: S108  # nosec B108  # of the sandbox, and nobody can guess it
            line = f"mkfifo -m 600 {pipe} && exec 3<>{pipe} && {command} <&3 3<&-"
            await self._api.start(name, line, timeout_s=0, wait=False)
        stream = ProcessStream(self._api, name, pipe)
        try:
            await stream.open()
        except NotFound as error:  # of the process; the sandbox is there
            await stream.close()
            raise StreamLost(f"the process has no output to read: {error}", provider=NAME) from error
        except SandboxError:
            await stream.close()
            raise
        return stream

    async def forget_runner(self) -> None:
        line = f"cd {self.workspace} && {shlex.join([*self.python, '-c', SWEEP])}"
        await self._api.run(f"rlm-{uuid4().hex}", line, timeout_s=FILE_TIMEOUT_S)

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        await self._api.put(path, io.BytesIO(data))

    async def upload(self, path: str, source: str) -> None:
        with await asyncio.to_thread(open, source, "rb") as file:
            await self._api.put(path, file)

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        found = io.BytesIO()
        await self._get(path, found, max_bytes)
        return found.getvalue()

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        with await asyncio.to_thread(open, target, "wb") as file:
            return await self._get(path, file, max_bytes)

    async def _get(self, path: str, target: BinaryIO, max_bytes: int) -> int:
        size_bytes = await self._api.get(path, target, max_bytes=max_bytes)
        if size_bytes < 0:
            raise InvalidSpec(f"{path} is no file", provider=NAME)
        if size_bytes > max_bytes:
            raise InvalidSpec(f"{path} has more than {max_bytes} bytes", provider=NAME)
        return size_bytes

    # Snapshots and life ---------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """Of files, memory and processes, always; `kind` says what a copy keeps. Blaxel has no expiry: `ttl_s` is ours."""
        if not self._can_snapshot:
            return await super().snapshot(kind, label=label, ttl_s=ttl_s)
        return await snapshots.take(self._client, self._url, kind, label=label, poll_s=self._poll_s)

    async def extend(self, seconds: float) -> None:
        document = await self.document()
        age_s = max_age_s(document)
        if age_s is None:
            return  # it has no end of its own
        for policy in document["spec"]["lifecycle"]["expirationPolicies"]:
            if policy.get("type") == "ttl-max-age":
                policy["value"] = f"{int(age_s + seconds)}s"
        await self._client.call("PUT", self._url, again=True, json=document)

    async def label(self, labels: Mapping[str, str]) -> None:
        document = await self.document()
        document["metadata"]["labels"] = {**(document["metadata"].get("labels") or {}), **labels}
        await self._client.call("PUT", self._url, again=True, json=document)

    async def pause(self) -> None:
        """Close the channels first: an open one keeps it awake."""
        await self._api.let_sleep()

    async def resume(self) -> None:
        await self._api.wake()

    async def terminate(self) -> None:
        with contextlib.suppress(NotFound):
            await self._client.call("DELETE", self._url, again=True, expect_json=False)
