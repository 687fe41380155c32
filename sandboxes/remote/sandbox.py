"""`RemoteSandbox`: the sandbox contract over a vendor's machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from sandboxes.contract import MAX_LINE_BYTES, ExecResult, SandboxInfo, SandboxRef, SnapshotInfo, SnapshotKind, Spec
from sandboxes.errors import InvalidSpec, NotReady, ProtocolViolation, SandboxError, StreamLost
from sandboxes.relay import REPLACED
from sandboxes.remote.bundle import line_source
from sandboxes.remote.framing import FramedStream
from sandboxes.remote.hub import ABSENT, ATTACHED, FOLDER, RUNNER
from sandboxes.remote.machine import ByteStream, Machine
from sandboxes.runner import bundle

START_S = 60.0
ATTACH_S = 30.0
MAX_PATH_CHARS = 1000
LINE = f"{FOLDER}/line.py"


class RemoteSandbox:
    def __init__(self, machine: Machine, spec: Spec | None = None) -> None:
        """`spec`: for its limits, where this process is the one that created it; the runner is started with them."""
        self.machine = machine
        self.ref: SandboxRef = machine.ref
        self._spec = spec or Spec()
        self._starting = asyncio.Lock()

    async def info(self) -> SandboxInfo:
        return await self.machine.info()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        max_output_bytes: int = 1024 * 1024,
    ) -> ExecResult:
        folder = self.path(cwd) if cwd else self.machine.workspace
        return await self.machine.run(
            list(argv), timeout_s=timeout_s, cwd=folder, env=dict(env or {}), max_output_bytes=max_output_bytes
        )

    # The line to the runner -----------------------------------------------------------------------------------------

    async def open_channel(self) -> RemoteChannel:
        channel = RemoteChannel(self, "host")
        await channel.reattach()
        return channel

    async def open_side(self) -> RemoteChannel:
        channel = RemoteChannel(self, "side")
        await channel.reattach()
        return channel

    async def attach(self, kind: str) -> tuple[ByteStream, AsyncIterator[bytes], bytearray]:
        """A stream to the hub, which is started when there is none: the stream, its chunks, and bytes already read."""
        found = await self._attach(kind)
        if found is None:
            async with self._starting:
                found = await self._attach(kind)
                if found is None:
                    await self.start_runner()
                    found = await self._attach(kind)
        if found is None:
            raise NotReady("the runner was started and cannot be reached", provider=self._provider)
        return found

    async def start_runner(self) -> None:
        """Upload the runner and what keeps it, and start both."""
        machine, workspace = self.machine, self.machine.workspace
        await asyncio.gather(
            machine.write(f"{workspace}/{LINE}", line_source().encode()),
            machine.write(f"{workspace}/{RUNNER}", bundle.source().encode()),
        )
        spec = self._spec
        command = [*machine.python, f"{workspace}/{LINE}", "hub", "--workspace", workspace, "--sweep", "group"]
        command += ["--memory-mb", str(spec.memory_mb), "--disk-mb", str(spec.disk_mb), "--site", "1"]
        done = await machine.run(command, timeout_s=START_S, cwd=workspace, env={}, max_output_bytes=8192)
        if done.exit_code != 0:
            why = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-1000:]
            raise NotReady(f"the runner did not start: {why or f'exit code {done.exit_code}'}", provider=self._provider)

    async def _attach(self, kind: str) -> tuple[ByteStream, AsyncIterator[bytes], bytearray] | None:
        """None when the sandbox has no hub (yet)."""
        machine = self.machine
        command = [*machine.python, f"{machine.workspace}/{LINE}", "attach", kind, "--workspace", machine.workspace]
        command += ["--framed"] if machine.framed else []
        stream = await machine.open_stream(command)
        chunks, read = stream.chunks(), bytearray()
        try:
            async with asyncio.timeout(ATTACH_S):
                while b"\n" not in read:
                    read += await anext(chunks)
        except StopAsyncIteration:
            pass  # no such file yet: Python itself said so on standard error
        except TimeoutError as error:
            await stream.close()
            raise StreamLost("the runner's line does not answer", provider=self._provider) from error
        except SandboxError:
            await stream.close()
            raise
        first, _, rest = bytes(read).partition(b"\n")
        if first.rstrip(b"\r") + b"\n" == ATTACHED:
            if not machine.framed:
                return stream, chunks, bytearray(rest)
            framed = FramedStream(stream, chunks, rest)
            return framed, framed.chunks(), bytearray()
        await stream.close()
        if first and first.rstrip(b"\r") + b"\n" != ABSENT:
            raise ProtocolViolation(f"the runner's line begins with {first[:80]!r}", provider=self._provider)
        return None

    @property
    def _provider(self) -> str:
        return str(getattr(self.machine, "provider", ""))

    # Files ----------------------------------------------------------------------------------------------------------

    def path(self, path: str) -> str:
        """Absolute path of a relative one below the workspace. Raises `InvalidSpec` for one that leads out of it.

        A link that code made inside the sandbox may lead anywhere in the sandbox: nothing of the host is there.
        """
        if not path or path.startswith("/") or "\0" in path or len(path) > MAX_PATH_CHARS:
            raise InvalidSpec(
                f"a path in the workspace is relative and at most {MAX_PATH_CHARS} characters: {path[:100]!r}"
            )
        names = [name for name in path.split("/") if name not in ("", ".")]
        if not names or ".." in names:
            raise InvalidSpec(f"the path leads out of the workspace: {path[:100]!r}")
        return "/".join([self.machine.workspace, *names])

    async def write_file(self, path: str, data: bytes) -> None:
        await self.machine.write(self.path(path), data)

    async def put_file(self, path: str, source: str) -> None:
        await self.machine.upload(self.path(path), source)

    async def read_file(self, path: str, *, max_bytes: int) -> bytes:
        return await self.machine.read(self.path(path), max_bytes=max_bytes)

    async def get_file(self, path: str, target: str, *, max_bytes: int) -> int:
        return await self.machine.download(self.path(path), target, max_bytes=max_bytes)

    # Life -----------------------------------------------------------------------------------------------------------

    async def extend(self, seconds: float) -> None:
        await self.machine.extend(seconds)

    async def snapshot(self, kind: SnapshotKind = "fs", *, label: str = "", ttl_s: float | None = None) -> SnapshotInfo:
        return await self.machine.snapshot(kind, label=label, ttl_s=ttl_s)

    async def pause(self) -> None:
        await self.machine.pause()

    async def resume(self) -> None:
        await self.machine.resume()

    async def port_url(self, port: int) -> str:
        return await self.machine.port_url(port)

    async def terminate(self) -> None:
        await self.machine.terminate()


class RemoteChannel:
    """Lines over a vendor's stream. Losing the stream loses nothing: the hub and the runner go on."""

    def __init__(self, sandbox: RemoteSandbox, kind: str) -> None:
        self._sandbox = sandbox
        self._kind = kind
        self._stream: ByteStream | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._read = bytearray()
        self._closed = False

    async def reattach(self) -> None:
        await self._disconnect()
        self._stream, self._chunks, self._read = await self._sandbox.attach(self._kind)

    async def send_line(self, line: bytes) -> None:
        await self.send_lines([line])

    async def send_lines(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if len(line) >= MAX_LINE_BYTES or b"\n" in line:
                raise InvalidSpec(f"a line of {len(line)} bytes is too long or holds a newline")
        if self._stream is None:
            raise StreamLost("the channel is not open")
        await self._stream.send(b"".join(line + b"\n" for line in lines))

    async def lines(self) -> AsyncIterator[bytes]:
        while self._chunks is not None:
            start = 0
            while (end := self._read.find(b"\n", start)) >= 0:
                line = bytes(self._read[start:end])
                start = end + 1
                if line.endswith(REPLACED):
                    raise StreamLost("another host has taken the runner over", resumable=False)
                yield line
            del self._read[:start]
            if len(self._read) >= MAX_LINE_BYTES:
                raise ProtocolViolation("the runner sent a line that is too long")
            try:
                self._read += await anext(self._chunks)
            except StopAsyncIteration:
                if self._closed:
                    return
                raise StreamLost("the channel to the runner broke") from None

    async def close(self) -> None:
        self._closed = True
        await self._disconnect()

    async def _disconnect(self) -> None:
        stream, self._stream, self._chunks = self._stream, None, None
        self._read = bytearray()
        if stream is not None:
            await stream.close()
