"""envd, the service in each sandbox, for all of them at one address: the sandbox is named by a header.

Before it is the vendor's proxy, which answers 502 for a sandbox that is not there or is paused.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from e2b.envd.process.process_connect import ProcessASGIApplication
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.wire.e2b.processes import Processes
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

MAX_MESSAGE_BYTES = 1 << 24
Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


def token_of(box: Box) -> str:
    return f"envd-token-of-{box.id}"


class Envd:
    def __init__(self, engine: Engine, faults: Faults) -> None:
        self.engine = engine
        self.faults = faults
        self.processes = Processes(engine, faults)
        self.writes: list[tuple[str, str]] = []
        """Path and content type of every file written."""
        self._app: Any = ProcessASGIApplication(self.processes, read_max_bytes=MAX_MESSAGE_BYTES)

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/files", self._guarded("read", self.read), methods=["GET"]),
            Route("/files", self._guarded("write", self.write), methods=["POST"]),
            Mount("/process.Process", app=self._service),
        ]

    def _refused(self, request: Request) -> Response | None:
        id = request.headers.get("e2b-sandbox-id", "")
        try:
            box = self.engine.box(id)
        except NoSuchBox:
            box = None
        if box is None or box.state != "running":
            return JSONResponse({"sandboxId": id, "message": "The sandbox was not found", "code": 502}, 502)
        if request.headers.get("x-access-token") != token_of(box):
            return JSONResponse(
                {"code": 401, "message": "unauthorized access, please provide a valid access token"}, 401
            )
        return None

    async def _service(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        refused = self._refused(Request(scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._app(
            {**scope, "path": f"/process.Process/{scope['path'].rpartition('/')[2]}", "root_path": ""}, receive, send
        )

    def _guarded(
        self, operation: Operation, handler: Callable[[Box, Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await handler(self.engine.box(request.headers["e2b-sandbox-id"]), request)
            except PermissionError as error:
                return error_of(403, str(error))

        async def guarded(request: Request) -> Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            return await disturbed(self.faults, operation, request, lambda: answer(request), error_of)

        return guarded

    async def health(self, request: Request) -> Response:
        return self._refused(request) or Response(status_code=204)

    async def read(self, box: Box, request: Request) -> Response:
        path = box.host_path(request.query_params["path"])
        if path.is_dir():
            return error_of(400, f"path '{request.query_params['path']}' is a directory")
        if not path.is_file():
            return error_of(404, f"path '{request.query_params['path']}' does not exist")
        return StreamingResponse(_pieces(path.read_bytes()), media_type="application/octet-stream")

    async def write(self, box: Box, request: Request) -> Response:
        path, kind = request.query_params["path"], request.headers.get("content-type", "")
        self.writes.append((path, kind))
        data = await request.body()
        if kind.startswith("multipart/form-data"):
            boundary = kind.partition("boundary=")[2].encode()
            part = data.split(b"--" + boundary)[1]
            data = re.split(rb"\r\n\r\n", part, maxsplit=1)[1].removesuffix(b"\r\n")
        target = box.host_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return JSONResponse([{"name": target.name, "type": "file", "path": path}])


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


def error_of(status: int, message: str, error_code: str = "") -> Response:
    body: dict[str, Any] = {"code": status, "message": message}
    return JSONResponse({**body, "error_code": error_code} if error_code else body, status)
