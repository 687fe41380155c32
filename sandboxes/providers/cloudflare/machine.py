"""One sandbox behind the bridge as a machine.

The bridge starts a fresh container for whoever asks for an id, also after its end, and says that it runs. So a file in the
workspace marks a container as ours: without it the sandbox has ended, and what was started by asking is ended, too.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import time
from collections.abc import Sequence
from uuid import uuid4

from sandboxes.contract import SandboxInfo, SandboxRef, Spec
from sandboxes.errors import AlreadyTerminated, ExecTimeout, InvalidSpec, ProviderUnavailable
from sandboxes.providers.cloudflare import options
from sandboxes.providers.cloudflare.client import WorkerClient
from sandboxes.providers.cloudflare.errors import NAME, malformed
from sandboxes.providers.cloudflare.events import result_of
from sandboxes.providers.cloudflare.stream import TerminalStream
from sandboxes.remote.bundle import line_source
from sandboxes.remote.text import FILE_TIMEOUT_S, LINE, TextMachine

OURS = "/workspace/.rlm/cloudflare"
GONE = 222
"""Exit code of our own lines of shell for a container without the mark."""
PART_BYTES = 16 << 20
"""A file goes in parts of so many bytes: the bridge takes 32 MiB, and a Worker has 128 MB for everything."""
QUIET_S = 600.0
NO_SUCH_FILE = "can't open file"
MARK = f"""mkdir -p {OURS} && if ! [ -f {OURS}/about ]; then
printf %s "$1" | base64 -d > {OURS}/env && printf %s "$2" | base64 -d > {OURS}/about.new && mv {OURS}/about.new {OURS}/about
fi && cat {OURS}/about"""
ENTER = f'[ -f {OURS}/about ] || exit {GONE}; . {OURS}/env; exec "$@"'


class CloudflareMachine(TextMachine):
    provider = NAME

    def __init__(self, client: WorkerClient, id: str, *, python: Sequence[str], tier: str) -> None:
        self.python = python
        self.id = id
        self.ref = SandboxRef(json.dumps({"provider": NAME, "url": client.url, "id": id}))
        self._client = client
        self._path = f"/v1/sandbox/{id}"
        self._tier = tier
        self._ended = False

    async def begin(self, spec: Spec) -> None:
        """Start the container and mark it; one that is marked stays as it is."""
        words = [base64.b64encode(text.encode()).decode() for text in (options.exports(spec), options.about(spec))]
        code, _, error = await self._exec(["sh", "-c", MARK, "sh", *words], FILE_TIMEOUT_S)
        if code != 0:
            raise InvalidSpec(f"the sandbox cannot be prepared (it needs sh and base64): {error[-500:]}", provider=NAME)

    # What it says about itself --------------------------------------------------------------------------------------

    async def running(self) -> None:
        """Raises `ProviderUnavailable` when the container does not answer. It says nothing about whose container it is."""
        said = await self._client.call_mapping("GET", f"{self._path}/running")
        if said.get("running") is not True:
            raise ProviderUnavailable(f"the sandbox does not answer: {said}"[:200], provider=NAME)

    async def info(self) -> SandboxInfo:
        code, text, error = await self.command(["cat", f"{OURS}/about"], FILE_TIMEOUT_S)
        if code != 0:
            raise ProviderUnavailable(f"the sandbox says nothing about itself: {error[-300:]}", provider=NAME)
        info = options.info_of(self.ref, text, self._tier)
        if info.expires_at is not None and info.expires_at <= time.time():
            await self.terminate()  # the bridge knows no lifetime: whoever looks ends it
            raise AlreadyTerminated("the sandbox has reached the end of its lifetime", provider=NAME)
        return info

    async def extend(self, seconds: float) -> None:
        info = await self.info()
        said = {"created_at": info.created_at, "expires_at": (info.expires_at or 0) + seconds, "labels": info.labels}
        text = base64.b64encode(json.dumps(said).encode()).decode()
        line = f'printf %s "$1" | base64 -d > {OURS}/about.new && mv {OURS}/about.new {OURS}/about'
        code, _, error = await self.command(["sh", "-c", line, "sh", text], FILE_TIMEOUT_S)
        if code != 0:
            raise ProviderUnavailable(f"the lifetime was not written down: {error[-300:]}", provider=NAME)

    # Commands -------------------------------------------------------------------------------------------------------

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        code, output, error = await self._exec(["sh", "-c", ENTER, "sh", *words], timeout_s)
        if code == GONE:
            await self.terminate()  # what our question has started
            raise AlreadyTerminated("the sandbox has ended, or slept: its container is a fresh one", provider=NAME)
        return code, output, error

    async def _exec(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        if self._ended:
            raise AlreadyTerminated("the sandbox was ended", provider=NAME)
        request = {"argv": list(words), "timeout_ms": int(timeout_s * 1000), "cwd": self.workspace}
        try:
            async with asyncio.timeout(timeout_s):
                async with self._client.opened(
                    "POST", f"{self._path}/exec", json=request, timeout_s=QUIET_S
                ) as response:
                    return await result_of(response)
        except TimeoutError as error:
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from error

    async def prepare(self) -> None:
        await self.write(f"{self.workspace}/{LINE}", line_source().encode())

    async def _line(self, words: Sequence[str], timeout_s: float = FILE_TIMEOUT_S) -> str:
        """`line.py` is put there when it turns out to be missing: nothing has run then."""
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

    async def open_stream(self, argv: Sequence[str]) -> TerminalStream:
        if self._ended:
            raise AlreadyTerminated("the sandbox was ended", provider=NAME)
        return await TerminalStream.open(self._client, self._path, f"[ -f {OURS}/env ] && . {OURS}/env", argv)

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)] or [b""]
        name = f"{OURS}/put-{uuid4().hex}"
        for number, part in enumerate(parts):
            await self._put(name, part, path, first=number == 0, last=number == len(parts) - 1)

    async def upload(self, path: str, source: str) -> None:
        name, first = f"{OURS}/put-{uuid4().hex}", True
        with await asyncio.to_thread(open, source, "rb") as file:
            part = await asyncio.to_thread(file.read, PART_BYTES)
            while True:
                following = await asyncio.to_thread(file.read, PART_BYTES)
                await self._put(name, part, path, first=first, last=not following)
                if not following:
                    return
                part, first = following, False

    async def _put(self, name: str, part: bytes, path: str, *, first: bool, last: bool) -> None:
        """Under a plain name, and then moved by a command: the bridge takes the path of its address as it stands there,
        escapes included, and makes no folders."""
        if self._ended:
            raise AlreadyTerminated("the sandbox was ended", provider=NAME)
        if first:
            await self._shell(f"mkdir -p {shlex.quote(path.rpartition('/')[0])}")
        await self._client.call("PUT", f"{self._path}/file{name}", content=part)
        whole = name if first and last else f"{name}.all"
        steps = [] if first and last else [f"cat {name} >> {whole}", f"rm {name}"]
        steps += [f"mv {whole} {shlex.quote(path)}"] if last else []
        await self._shell(" && ".join(steps))

    async def _shell(self, line: str) -> None:
        code, _, error = await self.command(["sh", "-c", line], FILE_TIMEOUT_S)
        if code != 0:
            raise ProviderUnavailable(f"a file could not be put in place: {error[-300:]}", provider=NAME)

    # Life -----------------------------------------------------------------------------------------------------------

    async def port_url(self, port: int) -> str:
        if not 1 <= port <= 65535:
            raise InvalidSpec(f"there is no port {port}", provider=NAME)
        await self.info()
        url = (await self._client.call_mapping("POST", f"{self._path}/tunnel/{port}")).get("url")
        if not isinstance(url, str) or not url:
            raise malformed("a tunnel without an address")
        return url

    async def terminate(self) -> None:
        """The bridge answers as well for one that is gone, and starts nothing for it."""
        await self._client.call("DELETE", self._path)
        self._ended = True
