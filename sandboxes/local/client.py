"""The client's side of the service: one connection for requests, one for each channel, the start of the service.

A connection belongs to one event loop; a client is used from the loop it was first used on.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sandboxes import errors
from sandboxes.contract import MAX_LINE_BYTES
from sandboxes.errors import ProviderUnavailable, SandboxError

NAME = "local"
START_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 60.0
REPLY_LIMIT_BYTES = 16 * 1024 * 1024
MAX_SOCKET_PATH = 107
IDEMPOTENT = frozenset(
    {"ping", "create", "get", "list", "write_file", "put_file", "read_file", "get_file", "terminate"}
)
"""Operations that are sent again when the connection broke under them."""


def default_socket() -> Path:
    """`RLMWEB_LOCAL_SANDBOX_SOCKET`, else a place in the user's run-time folder."""
    named = os.environ.get("RLMWEB_LOCAL_SANDBOX_SOCKET", "")
    if named:
        return Path(named)
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(folder) / f"rlmweb-{os.getuid()}" / "sandbox.sock"


def service_error(error: dict[str, Any]) -> SandboxError:
    kind = getattr(errors, str(error.get("type")), ProviderUnavailable)
    if not (isinstance(kind, type) and issubclass(kind, SandboxError)):
        kind = ProviderUnavailable
    return kind(str(error.get("message")), provider=NAME)


class ServiceClient:
    def __init__(self, socket: Path, *, autostart: bool, pool: int | None = None) -> None:
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
            message = (
                f"the socket path is longer than {MAX_SOCKET_PATH} bytes; set RLMWEB_LOCAL_SANDBOX_SOCKET: {socket}"
            )
            raise errors.InvalidSpec(message, provider=NAME)
        self.socket = socket
        self._autostart = autostart
        self._pool = pool
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting: asyncio.Lock | None = None

    async def request(self, operation: str, **fields: Any) -> dict[str, Any]:
        """One request. Raises the service's `SandboxError`, or `ProviderUnavailable` when it cannot be reached."""
        try:
            return await self._request(operation, fields)
        except ConnectionError:
            if operation not in IDEMPOTENT:
                raise ProviderUnavailable("the local sandbox service went away", provider=NAME) from None
        try:
            return await self._request(operation, fields)
        except ConnectionError as error:
            raise ProviderUnavailable("the local sandbox service went away twice", provider=NAME) from error

    async def _request(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        writer = await self._connected()
        id = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._waiting[id] = future
        try:
            writer.write(json.dumps({"id": id, "op": operation, **fields}).encode() + b"\n")
            await writer.drain()
            timeout_s = REQUEST_TIMEOUT_S + float(fields.get("timeout_s", 0))
            return await asyncio.wait_for(future, None if operation in ("put_file", "get_file") else timeout_s)
        except TimeoutError as error:
            raise ProviderUnavailable(f"the local sandbox service did not answer {operation}", provider=NAME) from error
        finally:
            self._waiting.pop(id, None)

    async def _connected(self) -> asyncio.StreamWriter:
        self._connecting = self._connecting or asyncio.Lock()
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await self._open(REPLY_LIMIT_BYTES)
                self._reading = asyncio.ensure_future(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                reply = json.loads(line)
                future = self._waiting.get(reply["id"])
                if future is None or future.done():
                    continue
                if "ok" in reply:
                    future.set_result(reply["ok"])
                else:
                    future.set_exception(service_error(reply["error"]))
        except (OSError, ValueError, KeyError):
            pass  # what follows treats every end of the connection alike
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionResetError("the connection to the service broke"))

    async def connect_line(self, operation: str, box: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that carries lines to and from `box`'s runner: as its host (`channel`), or beside it (`side`)."""
        reader, writer = await self._open(2 * MAX_LINE_BYTES)
        try:
            writer.write(json.dumps({"id": 0, "op": operation, "box": box}).encode() + b"\n")
            reply = json.loads(await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S))
            if "error" in reply:
                raise service_error(reply["error"])
        except (OSError, ValueError, TimeoutError) as error:
            writer.close()
            raise ProviderUnavailable(f"the local sandbox service broke off: {error}", provider=NAME) from error
        except SandboxError:
            writer.close()
            raise
        return reader, writer

    async def _open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(str(self.socket), limit=limit)
        except OSError as error:
            if not self._autostart:
                message = f"the local sandbox service is not running on {self.socket}: {error}"
                raise ProviderUnavailable(message, provider=NAME) from error
        await asyncio.to_thread(start_service, self.socket, self._pool)
        try:
            return await asyncio.open_unix_connection(str(self.socket), limit=limit)
        except OSError as error:
            raise ProviderUnavailable(f"the local sandbox service does not answer: {error}", provider=NAME) from error

    async def close(self) -> None:
        if self._writer:
            self._writer.close()
        if self._reading:
            await asyncio.gather(self._reading, return_exceptions=True)


_started: list[subprocess.Popen[bytes]] = []
"""Services that this process started and that are to outlive it; kept so that nobody warns of them."""


def start_service(path: Path, pool: int | None = None) -> None:
    """Start the service on `path` in a process group of its own and wait until it answers.

    Only one of several callers starts it: a lock file decides. Raises `ProviderUnavailable` with the end of its log.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_path = path.with_suffix(".log")
    with open(path.with_suffix(".starting"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(path):
            return
        command = [sys.executable, "-m", "sandboxes.local.service", "--socket", str(path)]
        if pool is not None:
            command += ["--pool", str(pool)]
        root = str(Path(__file__).resolve().parents[2])
        with open(log_path, "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=root,
                start_new_session=True,
            )
        _started.append(process)
        _wait_for_start(process, path, log_path)


def _wait_for_start(process: subprocess.Popen[bytes], path: Path, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if _answers(path):
            return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        if _answers(path):
            return  # another one had the socket already
        tail = log_path.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        raise ProviderUnavailable(f"the local sandbox service does not start: {tail}", provider=NAME)
    process.kill()
    raise ProviderUnavailable(f"the local sandbox service did not start in {START_TIMEOUT_S:g} s; see {log_path}")


def _answers(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
