"""One devbox of Runloop as a machine.

Commands go through `line.py`, which tells both streams apart, keeps bytes and kills the process tree at the deadline: the
vendor's answers are text of a limited size, and its commands have no deadline. Files go over its own transfers.
"""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from sandboxes.contract import ExecResult, SandboxInfo, SandboxState, SnapshotInfo, SnapshotKind
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    NotReady,
    RateLimited,
    SandboxError,
    Unsupported,
)
from sandboxes.providers.runloop.client import Client
from sandboxes.providers.runloop.commands import run_command
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.devboxes import ENDED, STARTING, STATES, Devboxes, info_of, reference
from sandboxes.providers.runloop.errors import GONE, translated
from sandboxes.providers.runloop.options import ON_IDLE
from sandboxes.providers.runloop.snapshots import Snapshots
from sandboxes.providers.runloop.stream import ExecutionStream
from sandboxes.remote.bundle import line_source
from sandboxes.remote.text import FILE_TIMEOUT_S, LINE, TextMachine

TRANSFER_TIMEOUT_S = 1800.0
PIECE_BYTES = 1 << 16
TUNNEL_DOMAIN = "tunnel.runloop.ai"


class RunloopMachine(TextMachine):
    provider = NAME

    def __init__(
        self,
        client: Client,
        id: str,
        devboxes: Devboxes,
        snapshots: Snapshots,
        *,
        workspace: str,
        python: Sequence[str],
        on_idle: str = ON_IDLE[0],
        public_ports: bool = False,
        tunnel_domain: str = TUNNEL_DOMAIN,
    ) -> None:
        self.id = id
        self.ref = reference(id)
        self.workspace = workspace
        self.python = python
        self._client = client
        self._devboxes = devboxes
        self._snapshots = snapshots
        self._on_idle = on_idle
        self._public_ports = public_ports
        self._tunnel_domain = tunnel_domain
        self._folders: set[str] = set()
        self._making = asyncio.Lock()
        self._has_line = False

    async def info(self) -> SandboxInfo:
        """Raises `NotFound` when it has ended."""
        with translated():
            return info_of(await self._devboxes.view(self.id))

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        """A call into the devbox. When it fails, whether the devbox is there says more than how it failed."""
        try:
            with translated():
                yield
        except (AuthFailed, ExecTimeout, RateLimited):
            raise
        except SandboxError as failure:
            await self._require_running(failure)
            raise

    async def _require_running(self, failure: SandboxError) -> None:
        try:
            info = await self.info()
        except NotFound:
            raise AlreadyTerminated(f"there is no devbox {self.id} any more", provider=NAME) from failure
        except SandboxError:
            return  # the first failure is the one to tell of
        if info.state is SandboxState.PAUSED:
            raise NotReady(f"devbox {self.id} is suspended; resume it first", provider=NAME) from failure

    # Commands -------------------------------------------------------------------------------------------------------

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        async with self._calling():
            return await run_command(self._client, self.id, shlex.join(words), timeout_s)

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        await self._bring_line()
        return await super().run(argv, timeout_s=timeout_s, cwd=cwd, env=env, max_output_bytes=max_output_bytes)

    async def _bring_line(self) -> None:
        """`line.py`, with the first command and not with the devbox: many are made for their channel only."""
        if not self._has_line:
            await self.write(f"{self.workspace}/{LINE}", line_source().encode())
            self._has_line = True

    async def open_stream(self, argv: Sequence[str]) -> ExecutionStream:
        async with self._calling():
            return await ExecutionStream.open(self._client, self.id, argv)

    # Files ----------------------------------------------------------------------------------------------------------

    async def write(self, path: str, data: bytes) -> None:
        await self._put(path, data, FILE_TIMEOUT_S)

    async def upload(self, path: str, source: str) -> None:
        with await asyncio.to_thread(open, source, "rb") as file:
            await self._put(path, file, TRANSFER_TIMEOUT_S)

    async def _put(self, path: str, contents: bytes | BinaryIO, timeout_s: float) -> None:
        """Given a file, the client reads it piece by piece; given its path, it would hold all of it."""
        folder = posixpath.dirname(path)
        known = folder in self._folders
        await self._make_folder(folder)
        try:
            await self._send(path, contents, timeout_s)
        except (InvalidSpec, NotFound):
            if not known:
                raise
            self._folders.discard(folder)  # code may have removed it since
            await self._make_folder(folder)
            await self._send(path, contents, timeout_s)

    async def _send(self, path: str, contents: bytes | BinaryIO, timeout_s: float) -> None:
        async with self._calling():
            await self._client.api.devboxes.upload_file(
                self.id,
                path=path,
                file=("file", contents),
                timeout=timeout_s,
                idempotency_key=uuid4().hex,
            )

    async def _make_folder(self, folder: str) -> None:
        """That an upload makes it is not documented."""
        async with self._making:
            if folder in self._folders:
                return
            code, _, error = await self.command(["mkdir", "-p", "--", folder], FILE_TIMEOUT_S)
            if code != 0:
                raise InvalidSpec(f"the devbox has no place for {folder}: {error[-300:]}", provider=NAME)
            self._folders.add(folder)

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        data = bytearray()
        async for piece in self._pieces(path, max_bytes):
            data += piece
        return bytes(data)

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        count = 0
        with await asyncio.to_thread(Path(target).open, "wb") as file:
            async for piece in self._pieces(path, max_bytes):
                count += await asyncio.to_thread(file.write, piece)
        return count

    async def _pieces(self, path: str, max_bytes: int) -> AsyncIterator[bytes]:
        """Raises `InvalidSpec` as soon as there are more than `max_bytes`: nothing says how many there will be."""
        count = 0
        try:
            async with self._calling():
                downloading = self._client.api.devboxes.with_streaming_response.download_file(
                    self.id, path=path, timeout=TRANSFER_TIMEOUT_S
                )
                async with downloading as response:
                    async for piece in response.iter_bytes(PIECE_BYTES):
                        count += len(piece)
                        if count > max_bytes:
                            break
                        yield piece
        except InvalidSpec as error:
            if any(words in str(error).lower() for words in GONE):
                raise NotFound(f"there is no file {path}", provider=NAME, status=error.status) from error
            raise
        if count > max_bytes:
            raise InvalidSpec(f"{path} has more than {max_bytes} bytes", provider=NAME)

    # Life -----------------------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """Of the disk. `ttl_s` is the caller's to keep: Runloop keeps snapshots until they are deleted."""
        if kind == "memory":
            raise Unsupported("memory_snapshot", provider=NAME)
        async with self._calling():
            return await self._snapshots.take(self.id, label)

    async def extend(self, seconds: float) -> None:
        """With an idle policy, its clock is set back. A length of life cannot be changed."""
        if not self._on_idle:
            raise Unsupported("extend (of a fixed length of life)", provider=NAME)
        async with self._calling():
            await self._client.api.devboxes.keep_alive(self.id, idempotency_key=uuid4().hex)

    async def pause(self) -> None:
        """Its disk is kept, its processes are not. One that is suspended already is success."""
        with translated():
            view = await self._devboxes.view(self.id)
            if STATES.get(view.status) is not SandboxState.PAUSED:
                view = await self._client.api.devboxes.suspend(self.id, idempotency_key=uuid4().hex)
            await self._devboxes.until(view, "suspended", passing=("running", "suspending"))

    async def resume(self) -> None:
        """One that runs is success."""
        with translated():
            view = await self._devboxes.view(self.id)
            if view.status == "suspending":
                view = await self._devboxes.until(view, "suspended", passing=("suspending",))
            if view.status == "suspended":
                view = await self._client.api.devboxes.resume(self.id, idempotency_key=uuid4().hex)
            await self._devboxes.until(view, "running", passing=("suspended", *STARTING))

    async def port_url(self, port: int) -> str:
        """Of the devbox's one tunnel, open to whoever knows its name."""
        if not self._public_ports:
            raise Unsupported("port_url (allow public ports in the provider's settings)", provider=NAME)
        with translated():
            tunnel = (await self._devboxes.view(self.id)).tunnel
            if tunnel is None:
                tunnel = await self._client.api.devboxes.enable_tunnel(
                    self.id, auth_mode="open", wake_on_http=False, http_keep_alive=False, idempotency_key=uuid4().hex
                )
            if tunnel.auth_mode != "open":
                raise Unsupported("port_url (somebody gave the devbox a tunnel with a token)", provider=NAME)
            return f"https://{port}-{tunnel.tunnel_key}.{self._tunnel_domain}"

    async def terminate(self) -> None:
        """Also while it is being saved."""
        try:
            with translated():
                await self._client.api.devboxes.shutdown(self.id, force="true", idempotency_key=uuid4().hex)
        except NotFound:
            return
        except (InvalidSpec, NotReady):
            with translated():
                view = await self._client.api.devboxes.retrieve(self.id)
                if view.status not in ENDED:
                    raise
