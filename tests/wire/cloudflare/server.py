"""Routes of the bridge as `dist/bridge/index.js` of the package has them, traps included:

- whoever asks for an id gets a container, also after its end; only `DELETE` starts none
- commands are joined to a line for bash, and their output is taken for text
- the path of a file is the rest of the address as it stands there
- a file that is missing reads as an empty answer, `timeout_ms` is not held to, `running` is always true
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from tests.wire.cloudflare.terminals import Terminals
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed
from tests.wire.process import Process

Handler = Callable[[Request, Box], Awaitable[Response]]
ID = re.compile(r"[a-z2-7]{1,128}")
PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./-]+")
LIMIT_BYTES = 32 << 20


class BridgeServer:
    def __init__(self, engine: Engine, faults: Faults, key: str) -> None:
        self.engine = engine
        self.faults = faults
        self.address = ""
        self.calls: list[str] = []
        """Method and route of every request."""
        self.requests: list[dict[str, Any]] = []
        """Bodies of `exec`."""
        self._key = key
        self.terminals = Terminals(engine, faults, self.authorized)
        served = self._served
        box = "/v1/sandbox/{id}"
        self.app = Starlette(
            routes=[
                Route("/v1/sandbox", self.new_id, methods=["POST"]),
                Route("/v1/pool/stats", self.stats, methods=["GET"]),
                Route(f"{box}/exec", served("exec", self.exec), methods=["POST"]),
                Route(f"{box}/running", served("get", self.running), methods=["GET"]),
                Route(f"{box}/file/{{path:path}}", served("read", self.read), methods=["GET"]),
                Route(f"{box}/file/{{path:path}}", served("write", self.write), methods=["PUT"]),
                Route(f"{box}/tunnel/{{port:int}}", served("get", self.tunnel), methods=["POST"]),
                Route(f"{box}/session", served("stream", self.terminals.create), methods=["POST"]),
                Route(f"{box}/session/{{session}}", served("stdin", self.terminals.delete), methods=["DELETE"]),
                Route(box, self.delete, methods=["DELETE"]),
                WebSocketRoute(f"{box}/pty", self.terminals.serve),
            ]
        )

    def authorized(self, headers: Any) -> bool:
        return bool(headers.get("authorization") == f"Bearer {self._key}")

    def _refused(self, request: Request) -> Response | None:
        self.calls.append(f"{request.method} {request.scope['route'].path}")
        id = request.path_params.get("id")
        if id is not None and not ID.fullmatch(id):
            return _error(400, "Invalid sandbox ID format", "invalid_request")
        if not self.authorized(request.headers):
            return _error(401, "Unauthorized", "unauthorized")
        return None

    def _served(self, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def served(request: Request) -> Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            id = request.path_params["id"]
            try:
                self.engine.box(id)
                fresh = False
            except NoSuchBox:
                fresh = True
            if fresh and self.faults.no_capacity:
                return _error(503, "instance limit reached", "capacity_exceeded")

            async def carry_out() -> Response:
                return await handler(request, self.engine.create(id=id) if fresh else self.engine.box(id))

            return await disturbed(self.faults, "create" if fresh else operation, request, carry_out, _fault)

        return served

    async def new_id(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"id": "abcdefghijklmnopqrstuvwxyz"})

    async def stats(self, request: Request) -> Response:
        count = len(self.engine.alive())
        return self._refused(request) or JSONResponse({"warm": 0, "assigned": count, "total": count})

    async def delete(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused

        async def carry_out() -> Response:
            self.engine.terminate(request.path_params["id"])
            return Response(status_code=204)

        return await disturbed(self.faults, "terminate", request, carry_out, _fault)

    # Inside a sandbox -----------------------------------------------------------------------------------------------

    async def running(self, request: Request, box: Box) -> Response:
        return JSONResponse({"running": True})

    async def exec(self, request: Request, box: Box) -> Response:
        body = await request.json()
        self.requests.append(body)
        if not body.get("argv"):
            return _error(400, "argv must be a non-empty array", "invalid_request")
        cwd = _in_workspace(body.get("cwd", "/workspace"))
        if cwd is None:
            return _error(403, "cwd must resolve to a location within /workspace", "invalid_request")
        line = " ".join(_quoted(word) for word in body["argv"])
        first = not box.processes
        process = await box.spawn(["bash", "-c", line], cwd=cwd)
        if first:  # to its end, so that it is done also where its answer is lost
            return Response(b"".join([event async for event in events_of(process)]), media_type="text/event-stream")
        return StreamingResponse(events_of(process), media_type="text/event-stream")

    async def read(self, request: Request, box: Box) -> Response:
        path = _in_workspace("/" + _raw_rest(request))
        if path is None:
            return _error(403, "path must resolve to a location within /workspace", "invalid_request")
        target = box.host_path(path)
        data = target.read_bytes() if target.is_file() else b""
        return Response(data, media_type="application/octet-stream")

    async def write(self, request: Request, box: Box) -> Response:
        path = _in_workspace("/" + _raw_rest(request))
        if path is None:
            return _error(403, "path must resolve to a location within /workspace", "invalid_request")
        data = await request.body()
        if len(data) > LIMIT_BYTES:
            return _error(413, f"payload too large: {len(data)} bytes", "payload_too_large")
        if not _write(box.host_path(path), data):
            return _error(502, "write failed: no such folder", "workspace_archive_write_error")
        return JSONResponse({"ok": True})

    async def tunnel(self, request: Request, box: Box) -> Response:
        port = request.path_params["port"]
        return JSONResponse({"port": port, "url": f"https://{box.id[:8]}-{port}.example.com"})


def _write(target: Path, data: bytes) -> bool:
    if target.parent.is_dir():
        target.write_bytes(data)
    return target.is_file()


async def events_of(process: Process) -> AsyncIterator[bytes]:
    process.close_stdin()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(8)

    async def read(name: str, reader: asyncio.StreamReader | None) -> None:
        while reader is not None and (data := await reader.read(65536)):
            text = data.decode("utf-8", "replace").encode()
            await queue.put(f"event: {name}\ndata: {base64.b64encode(text).decode()}\n\n".encode())
        await queue.put(None)

    tasks = [asyncio.ensure_future(read("stdout", process.stdout))]
    tasks.append(asyncio.ensure_future(read("stderr", process.stderr)))
    open_streams = len(tasks)
    try:
        while open_streams:
            event = await queue.get()
            if event is None:
                open_streams -= 1
            else:
                yield event
        code = await process.wait()
        yield f"event: exit\ndata: {json.dumps({'exit_code': code})}\n\n".encode()
    finally:
        for task in tasks:
            task.cancel()
        await process.close()


def _raw_rest(request: Request) -> str:
    return str(request.scope["raw_path"].decode().partition("/file/")[2].partition("?")[0])


def _in_workspace(path: str) -> str | None:
    names: list[str] = []
    for name in (path if path.startswith("/") else f"/workspace/{path}").split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/" + "/".join(names) if names[:1] == ["workspace"] else None


def _quoted(word: str) -> str:
    if PLAIN.fullmatch(word):
        return word
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        word = word.replace(plain, escaped)
    return f"$'{word}'"


def _error(status: int, error: str, code: str) -> Response:
    return JSONResponse({"error": error, "code": code}, status)


def _fault(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
