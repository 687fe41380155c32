"""The control protocol of the service: JSON lines over its unix socket.

A request is `{"id": n, "op": name, ...}`; its reply is `{"id": n, "ok": {...}}` or
`{"id": n, "error": {"type", "message"}}`, in any order. After `channel` the connection
carries the runner's lines, both ways, until it closes; after `side` it carries requests
to evaluate, beside the host's channel, and their answers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from sandboxes.errors import InvalidSpec, SandboxError
from sandboxes.local.execute import Command, execute
from sandboxes.local.keeper import Keeper
from sandboxes.local.spec import parse_spec
from sandboxes.relay import ClientLine, SideLine

log = logging.getLogger("rlmweb.sandbox")
MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_READ_BYTES = 4 * 1024 * 1024
MAX_EXEC_S = 24 * 3600

Reply = dict[str, Any]


class Api:
    """The operations, one method each; a request's fields are checked here."""

    def __init__(self, keeper: Keeper, self_test: Reply) -> None:
        self._keeper = keeper
        self._self_test = self_test
        self.operations: dict[str, Callable[[Reply], Awaitable[Reply]]] = {
            "ping": self.ping,
            "create": self.create,
            "get": self.get,
            "list": self.list,
            "exec": self.exec,
            "write_file": self.write_file,
            "put_file": self.put_file,
            "read_file": self.read_file,
            "get_file": self.get_file,
            "extend": self.extend,
            "terminate": self.terminate,
        }

    async def ping(self, request: Reply) -> Reply:
        keeper = self._keeper
        return {
            "pid": os.getpid(),
            "tier": keeper.default,
            "tiers": self._self_test,
            "boxes": len(keeper.boxes) - keeper.pool.ready,
            "pool": keeper.pool.ready,
            "pool_size": keeper.pool.size,
        }

    async def create(self, request: Reply) -> Reply:
        box = await self._keeper.create(parse_spec(request.get("spec", {})), _text(request, "key", ""))
        return box.info()

    async def get(self, request: Reply) -> Reply:
        return self._keeper.get(request.get("box")).info()

    async def list(self, request: Reply) -> Reply:
        labels = request.get("labels", {})
        if not isinstance(labels, dict):
            raise InvalidSpec("labels must be an object")
        return {"boxes": [box.info() for box in self._keeper.find(labels)]}

    async def exec(self, request: Reply) -> Reply:
        argv, env = request.get("argv"), request.get("env", {})
        if not isinstance(argv, list) or not isinstance(env, dict):
            raise InvalidSpec("argv must be a list and env an object")
        if not all(isinstance(word, str) and "\0" not in word for word in (*argv, *env, *env.values())):
            raise InvalidSpec("argv and env hold texts")
        timeout_s = request.get("timeout_s")
        if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MAX_EXEC_S:
            raise InvalidSpec(f"timeout_s must be a number up to {MAX_EXEC_S}")
        box = self._keeper.get(request.get("box"))
        limit = _number(request, "max_output_bytes", MAX_READ_BYTES)
        outcome = await execute(box, Command(argv, timeout_s, _text(request, "cwd", ""), env, limit))
        return {
            "exit_code": outcome.exit_code,
            "stdout": base64.b64encode(outcome.stdout).decode(),
            "stderr": base64.b64encode(outcome.stderr).decode(),
            "truncated": outcome.truncated,
        }

    async def write_file(self, request: Reply) -> Reply:
        try:
            data = base64.b64decode(_text(request, "data"), validate=True)
        except binascii.Error as error:
            raise InvalidSpec("data must be base64") from error
        self._keeper.get(request.get("box")).write_file(_text(request, "path"), data)
        return {}

    async def put_file(self, request: Reply) -> Reply:
        box = self._keeper.get(request.get("box"))
        # In a thread: a large context takes a second, and the channels of the others go on meanwhile.
        size = await asyncio.to_thread(box.put_file, _text(request, "path"), _text(request, "source"))
        return {"size_bytes": size}

    async def read_file(self, request: Reply) -> Reply:
        box = self._keeper.get(request.get("box"))
        limit = min(_number(request, "max_bytes"), MAX_READ_BYTES)
        data, size = box.read_file(_text(request, "path"), _number(request, "offset", 0), limit)
        return {"data": base64.b64encode(data).decode(), "size_bytes": size}

    async def get_file(self, request: Reply) -> Reply:
        box = self._keeper.get(request.get("box"))
        path, target, limit = _text(request, "path"), _text(request, "target"), _number(request, "max_bytes")
        return {"size_bytes": await asyncio.to_thread(box.get_file, path, target, limit)}

    async def extend(self, request: Reply) -> Reply:
        box = self._keeper.get(request.get("box"))
        box.extend(_number(request, "seconds"))
        return box.info()

    async def terminate(self, request: Reply) -> Reply:
        box = self._keeper.boxes.get(_text(request, "box"))
        if box:
            await box.end("it was terminated")
        return {}


def _text(request: Reply, name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_REQUEST_BYTES:
        raise InvalidSpec(f"{name} must be text")
    return value


def _number(request: Reply, name: str, default: int | None = None) -> int:
    value = request.get(name, default)
    if type(value) is not int or value < 0:
        raise InvalidSpec(f"{name} must be a whole number, not negative")
    return value


class Connection(asyncio.Protocol):
    """One client. Requests are served side by side; `channel` and `side` turn the connection into a line to a runner."""

    def __init__(self, api: Api, keeper: Keeper) -> None:
        self._api = api
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._line: ClientLine | SideLine | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not _same_user(transport.get_extra_info("socket")):
            log.warning("a connection of another user was refused")
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._line:
            self._line.received(data)
            return
        self._buffer += data
        while not self._line:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                break
            self._buffer = rest
            self._request(bytes(line))
        if len(self._buffer) > MAX_REQUEST_BYTES and self._transport:
            self._transport.abort()

    def _request(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            id, operation = request["id"], request["op"]
        except (ValueError, KeyError, TypeError):
            self._reply({"id": None, "error": {"type": "InvalidSpec", "message": "not a request"}})
            return
        if operation in ("channel", "side"):
            self._open_line(id, request, operation)
            return
        task = asyncio.get_running_loop().create_task(self._serve(id, operation, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, id: Any, operation: str, request: Reply) -> None:
        try:
            handler = self._api.operations.get(operation)
            if handler is None:
                raise InvalidSpec(f"unknown operation {str(operation)[:40]!r}")
            self._reply({"id": id, "ok": await handler(request)})
        except SandboxError as error:
            self._reply({"id": id, "error": {"type": type(error).__name__, "message": str(error)}})
        except Exception as error:
            log.exception("%s failed", operation)
            self._reply({"id": id, "error": {"type": "ProviderUnavailable", "message": f"internal error: {error}"}})

    def _open_line(self, id: Any, request: Reply, operation: str) -> None:
        """From now on the connection carries lines: the host's, or those of a client beside it."""
        assert self._transport is not None
        try:
            box = self._keeper.get(request.get("box"))
            line = SideLine(self._transport, box.line) if operation == "side" else None
        except SandboxError as error:
            self._reply({"id": id, "error": {"type": type(error).__name__, "message": str(error)}})
            return
        self._reply({"id": id, "ok": {}})
        if line:
            self._line = line
        else:
            self._line = host = ClientLine(self._transport, box.line)
            box.line.attach(host)
        if self._buffer:
            self._line.received(bytes(self._buffer))
            self._buffer.clear()

    def _reply(self, reply: Reply) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(json.dumps(reply).encode() + b"\n")

    def pause_writing(self) -> None:
        if self._line:
            self._line.runner_may_write(False)

    def resume_writing(self) -> None:
        if self._line:
            self._line.runner_may_write(True)

    def connection_lost(self, error: Exception | None) -> None:
        if self._line:
            self._line.lost()


def _same_user(peer: socket.socket) -> bool:
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (os.geteuid(), 0)
