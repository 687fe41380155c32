"""The toolbox of the sandboxes: commands, sessions, files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from daytona_toolbox_api_client import (
    CreateSessionRequest,
    ExecuteRequest,
    ExecuteResponse,
    FileInfo,
    FilesDownloadRequest,
    SessionExecuteRequest,
    SessionExecuteResponse,
    SessionSendInputRequest,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.wire.daytona.models import Refused, error, iso, received, shown
from tests.wire.daytona.sessions import Command, Session
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

DEFAULT_TIMEOUT_S = 10
DAEMON, PROXY = "DAYTONA_DAEMON", "DAYTONA_PROXY"
Handler = Callable[[Request, Box], Awaitable[Response]]


class Toolbox:
    def __init__(self, engine: Engine, faults: Faults, token: str) -> None:
        self.engine = engine
        self.faults = faults
        self._token = token
        self.sessions: dict[tuple[str, str], Session] = {}
        self.executed: list[ExecuteRequest] = []
        base = "/toolbox/{box}"
        session = f"{base}/process/session"
        command = f"{session}/{{session}}/command/{{command}}"
        self.routes: list[BaseRoute] = [
            Route(f"{base}/process/execute", self._guarded("exec", self.execute), methods=["POST"]),
            Route(session, self._guarded("stream", self.create_session), methods=["POST"]),
            Route(f"{session}/{{session}}", self._guarded("stream", self.delete_session), methods=["DELETE"]),
            Route(f"{session}/{{session}}/exec", self._guarded("stream", self.start), methods=["POST"]),
            Route(f"{command}/input", self._guarded("stdin", self.input), methods=["POST"]),
            WebSocketRoute(f"{command}/logs", self.logs),
            Route(f"{base}/files/bulk-upload", self._guarded("write", self.upload), methods=["POST"]),
            Route(f"{base}/files/bulk-download", self._guarded("read", self.download), methods=["POST"]),
            Route(f"{base}/files/info", self._guarded("read", self.file_info), methods=["GET"]),
        ]

    def _guarded(self, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return error(401, "Unauthorized", source=PROXY)
            return await disturbed(self.faults, operation, request, lambda: answered(request), error)

        async def answered(request: Request) -> Response:
            try:
                return await handler(request, self._box(request.path_params["box"]))
            except Refused as refusal:
                return refusal.answer()

        return guarded

    def _box(self, id: str) -> Box:
        try:
            box = self.engine.box(id)
        except NoSuchBox as absent:
            raise Refused(404, f"sandbox {id} not found", source=PROXY) from absent
        if box.state != "running":
            raise Refused(400, f"sandbox {id} is not started", source=PROXY)
        return box

    # Commands -------------------------------------------------------------------------------------------------------

    async def execute(self, request: Request, box: Box) -> Response:
        """Both streams in one text; at the deadline the shell is killed, and what it started is not."""
        asked = await received(request, ExecuteRequest)
        self.executed.append(asked)
        process = await box.spawn(["sh", "-c", asked.command], cwd=asked.cwd or "/tmp", env=asked.envs, stderr=False)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), asked.timeout or DEFAULT_TIMEOUT_S)
        except TimeoutError:
            process.popen.kill()
            return error(408, "command execution timeout", "PROCESS_EXECUTION_TIMEOUT", DAEMON)
        except asyncio.CancelledError:
            await process.close()
            raise
        code = await process.wait()
        await process.close()
        if not box.alive:
            return error(502, "the connection to the sandbox was lost", source=PROXY)
        return shown(ExecuteResponse(exit_code=code, result=output.decode("utf-8", "replace")))

    async def create_session(self, request: Request, box: Box) -> Response:
        id = (await received(request, CreateSessionRequest)).session_id
        if (box.id, id) in self.sessions:
            raise Refused(409, "the session exists", source=DAEMON)
        self.sessions[box.id, id] = Session(id)
        return JSONResponse(None, 201)

    def _session(self, request: Any) -> Session:
        found = self.sessions.get((request.path_params["box"], request.path_params["session"]))
        if found is None:
            raise Refused(404, "session not found", source=DAEMON)
        return found

    def _command(self, request: Any) -> Command:
        found = self._session(request).commands.get(request.path_params["command"])
        if found is None:
            raise Refused(404, "command not found", source=DAEMON)
        return found

    async def delete_session(self, request: Request, box: Box) -> Response:
        session = self._session(request)
        del self.sessions[box.id, session.id]
        await session.close()
        return Response(status_code=204)

    async def start(self, request: Request, box: Box) -> Response:
        asked = await received(request, SessionExecuteRequest)
        session = self._session(request)
        if not asked.run_async:
            raise Refused(400, "only commands in the background are here", source=DAEMON)
        process = await box.spawn(["sh", "-c", asked.command], cwd="/tmp")
        id = f"command-{next(session.numbers)}"
        command = session.commands[id] = Command(id, asked.command, process, echo=not asked.suppress_input_echo)
        command.start()
        return shown(SessionExecuteResponse(cmd_id=id), 202)

    async def input(self, request: Request, box: Box) -> Response:
        data = (await received(request, SessionSendInputRequest)).data
        command = self._command(request)
        try:
            for _ in range(2 if self.faults.replay_stdin else 1):
                await command.write(data)
        except OSError as failure:
            raise Refused(410, str(failure), "COMMAND_ALREADY_COMPLETED", DAEMON) from failure
        return Response(status_code=204)

    async def logs(self, socket: WebSocket) -> None:
        if socket.headers.get("authorization") != f"Bearer {self._token}":
            await socket.close(4401)
            return
        try:
            command = self._command(socket)
        except Refused:
            await socket.close(4404)
            return
        await socket.accept()
        if self.faults.take("stream") is not None:
            await socket.close(1011)
            return
        task = asyncio.ensure_future(self._follow(socket, command))
        loop = asyncio.get_running_loop()

        def drop() -> None:
            loop.call_soon_threadsafe(task.cancel)

        forget = self.faults.on_drop(drop)
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
            code = 1011 if task.cancelled() else 1000
        finally:
            forget()
            for each in (task, gone):
                each.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code)

    async def _follow(self, socket: WebSocket, command: Command) -> None:
        """From the beginning. The last byte of what there is comes alone, as it may with any reader of a file."""
        sent = 0
        while data := await command.more(sent):
            sent += len(data)
            for part in (data[:-1], data[-1:]):
                if part:
                    await socket.send_bytes(part)

    # Files ----------------------------------------------------------------------------------------------------------

    def _path(self, box: Box, path: str) -> Path:
        try:
            return box.host_path(path)
        except PermissionError as failure:
            raise Refused(403, str(failure), "FILE_ACCESS_DENIED", DAEMON) from failure

    async def upload(self, request: Request, box: Box) -> Response:
        async with request.form() as form:
            path: Any = form["files[0].path"]
            file: Any = form["files[0].file"]
            target = self._path(box, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".upload-{secrets.token_hex(4)}")
            with await asyncio.to_thread(part.open, "wb") as into:
                while data := await file.read(1 << 16):
                    into.write(data)
            os.replace(part, target)
        return JSONResponse({"files": [{"path": path, "bytes": target.stat().st_size}]})

    async def file_info(self, request: Request, box: Box) -> Response:
        path = request.query_params["path"]
        target = self._path(box, path)
        if not target.exists():
            raise Refused(404, f"file not found: {path}", "FILE_NOT_FOUND", DAEMON)
        about = target.stat()
        return shown(
            FileInfo(
                name=target.name,
                size=about.st_size,
                is_dir=target.is_dir(),
                mode="-rw-r--r--",
                mod_time=iso(about.st_mtime),
                modified_at=iso(about.st_mtime),
                group="root",
                owner="root",
                permissions="0644",
            )
        )

    async def download(self, request: Request, box: Box) -> Response:
        path = (await received(request, FilesDownloadRequest)).paths[0]
        target = self._path(box, path)
        boundary = secrets.token_hex(12)

        async def body() -> AsyncIterator[bytes]:
            kind = "file" if target.is_file() else "error"
            yield (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{kind}"; filename="{path}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            if kind == "file":
                with await asyncio.to_thread(target.open, "rb") as file:
                    while data := file.read(1 << 16):
                        yield data
            else:
                yield f"file not found: {path}".encode()
            yield f"\r\n--{boundary}--\r\n".encode()

        return StreamingResponse(body(), media_type=f"multipart/form-data; boundary={boundary}")


async def _until_gone(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_bytes()
