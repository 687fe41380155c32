"""Sessions of the bridge and their terminals: one each, which outlives its connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.wire.direct import PYTHON
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults
from tests.wire.process import Process

PROGRAM = Path(__file__).with_name("terminal.py").read_text()


@dataclass
class Session:
    box: Box
    process: Process | None = None


class Terminals:
    def __init__(self, engine: Engine, faults: Faults, authorized: Callable[[Any], bool]) -> None:
        self.sessions: dict[str, Session] = {}
        self._engine = engine
        self._faults = faults
        self._authorized = authorized

    async def create(self, request: Request, box: Box) -> Response:
        session = (await request.json())["id"]
        self.sessions[session] = Session(box)
        return JSONResponse({"id": session})

    async def delete(self, request: Request, box: Box) -> Response:
        found = self.sessions.pop(request.path_params["session"], None)
        if found is None:
            return JSONResponse({"error": "session delete failed: unknown", "code": "session_error"}, 502)
        if found.process is not None:
            await found.process.close()
        return JSONResponse({"success": True})

    async def serve(self, socket: WebSocket) -> None:
        session = self.sessions.get(socket.query_params.get("session", ""))
        try:
            box = self._engine.box(socket.path_params["id"])
        except NoSuchBox:
            box = None
        if not self._authorized(socket.headers) or session is None or session.box is not box:
            await socket.close(1008)
            return
        if session.process is None:
            words = [PYTHON, "-c", PROGRAM, socket.query_params.get("shell", "bash"), "--norc", "-i"]
            session.process = await session.box.spawn(words, env={"TERM": "xterm"}, stderr=False)
        await socket.accept()
        await socket.send_text('{"type":"ready"}')
        await self._carry(socket, session.process)

    async def _carry(self, socket: WebSocket, process: Process) -> None:
        loop = asyncio.get_running_loop()
        dropped: asyncio.Future[None] = loop.create_future()

        def drop() -> None:
            loop.call_soon_threadsafe(dropped.cancel)

        forget = self._faults.on_drop(drop)
        tasks: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._input(socket, process)),
            asyncio.ensure_future(self._output(socket, process)),
            dropped,
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if socket.client_state.name != "DISCONNECTED" and socket.application_state.name != "DISCONNECTED":
            await socket.close(1011 if dropped.cancelled() and process.returncode is None else 1000)

    async def _input(self, socket: WebSocket, process: Process) -> None:
        while True:
            try:
                data = await socket.receive_bytes()
                for _ in range(2 if self._faults.replay_stdin else 1):
                    await process.write(data)
            except (WebSocketDisconnect, OSError):
                return

    async def _output(self, socket: WebSocket, process: Process) -> None:
        while data := await process.stdout.read(65536):
            await socket.send_bytes(data)
        await socket.send_text(json.dumps({"type": "exit", "code": await process.wait()}))
