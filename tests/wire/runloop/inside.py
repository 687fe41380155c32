"""What goes into a devbox: commands, their input and output, files."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from runloop_api_client.types import (
    DevboxSendStdInResult,
    devbox_download_file_params,
    devbox_execute_async_params,
    devbox_execute_params,
)
from runloop_api_client.types.devboxes import execution_kill_params, execution_send_std_in_params
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.wire.engine import Box
from tests.wire.faults import Faults
from tests.wire.runloop.executions import Execution
from tests.wire.runloop.models import Refused, received, shown


class Inside:
    def __init__(self, faults: Faults, running: Callable[[Request], Box]) -> None:
        """`running`: the devbox of a request, refused unless it runs."""
        self.executions: dict[str, Execution] = {}
        self.missing_file_status = 404
        self.hold_s = 20.0
        """After it the server lets go of those who follow a log."""
        self.offsets = "start"
        """Which byte of a piece of a log its offset names: the first ("start"), the one behind it ("end"), or none ("")."""
        self.sent: list[str] = []
        self.followed: list[int] = []
        """Offsets from which logs were asked for."""
        self.faults = faults
        self._running = running
        self._keys: dict[str, str] = {}
        self._numbers = itertools.count(1)

    # Commands -----------------------------------------------------------------------------------------------------

    async def execute(self, request: Request) -> Response:
        asked = await received(request, devbox_execute_params.DevboxExecuteParams)
        box, id = self._running(request), asked["command_id"]
        if id not in self.executions:
            self.executions[id] = await Execution.start(id, box, asked["command"], attached=False)
        await self.executions[id].completed(asked.get("optimistic_timeout", 25))
        return self._answer(self.executions[id])

    async def execute_async(self, request: Request) -> Response:
        asked = await received(request, devbox_execute_async_params.DevboxExecuteAsyncParams)
        box, key = self._running(request), request.headers["x-request-id"]
        if key not in self._keys:
            id = self._keys[key] = f"exec_{next(self._numbers)}"
            attached = bool(asked.get("attach_stdin"))
            self.executions[id] = await Execution.start(id, box, asked["command"], attached=attached)
        return self._answer(self.executions[self._keys[key]])

    def _answer(self, execution: Execution) -> Response:
        if not execution.box.alive:
            raise Refused(400, f"devbox {execution.box.id} is shutdown, not running")
        return shown(execution.shown())

    def _execution(self, request: Request) -> Execution:
        self._running(request)
        found = self.executions.get(request.path_params["execution"])
        if found is None:
            raise Refused(404, "execution not found")
        return found

    async def wait_for_status(self, request: Request) -> Response:
        asked = await request.json()
        execution = self._execution(request)
        if not await execution.completed(min(asked.get("timeout_seconds", 25), 25)):
            raise Refused(408, "the command is not done")
        return self._answer(execution)

    async def send_std_in(self, request: Request) -> Response:
        """What is tried again arrives again."""
        asked = await received(request, execution_send_std_in_params.ExecutionSendStdInParams)
        if bool(asked.get("text")) == bool(asked.get("signal")):
            raise Refused(400, "either text or a signal")
        execution = self._execution(request)
        if not execution.attached:
            raise Refused(400, "the execution was started without stdin")
        self.sent.append(asked.get("text") or "")
        taken = True
        try:
            for _ in range(2 if self.faults.replay_stdin else 1):
                await execution.process.write((asked.get("text") or "").encode())
        except OSError:
            taken = False
        return shown(DevboxSendStdInResult(devbox_id=execution.box.id, execution_id=execution.id, success=taken))

    async def stream_stdout(self, request: Request) -> Response:
        execution = self._execution(request)
        start = int(request.query_params.get("offset", "0"))
        self.followed.append(start)

        async def body() -> AsyncIterator[bytes]:
            async for event in execution.follow(start, self.faults, self.hold_s, self.offsets):
                yield event

        return StreamingResponse(body(), media_type="text/event-stream")

    async def kill(self, request: Request) -> Response:
        asked = await received(request, execution_kill_params.ExecutionKillParams)
        execution = self._execution(request)
        if asked.get("kill_process_group"):
            execution.process.kill()
        else:
            execution.process.popen.kill()
        return shown(execution.shown())

    # Files ----------------------------------------------------------------------------------------------------------

    def _path(self, box: Box, path: str) -> Path:
        """Paths are relative to the home folder."""
        try:
            return box.host_path(os.path.join("/home/user", path))
        except PermissionError as failure:
            raise Refused(403, str(failure)) from failure

    async def upload(self, request: Request) -> Response:
        """Into a folder that is there."""
        box = self._running(request)
        async with request.form() as form:
            path: Any = form["path"]
            file: Any = form["file"]
            target = self._path(box, path)
            if not target.parent.is_dir():
                raise Refused(400, f"there is no directory for {path}")
            with await asyncio.to_thread(target.open, "wb") as into:
                while data := await file.read(1 << 16):
                    into.write(data)
        return JSONResponse({})

    async def download(self, request: Request) -> Response:
        asked = await received(request, devbox_download_file_params.DevboxDownloadFileParams)
        target = self._path(self._running(request), asked["path"])
        if not target.is_file():
            raise Refused(self.missing_file_status, f"File not found: {asked['path']}")

        async def body() -> AsyncIterator[bytes]:
            with await asyncio.to_thread(target.open, "rb") as file:
                while data := file.read(1 << 16):
                    yield data

        return StreamingResponse(body(), media_type="application/octet-stream")
