"""The API inside a sandbox (blaxel-ai/sandbox, `sandbox-api`), for all of them under `/sbx/{sandbox}`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.wire.blaxel.processes import Running
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

Handler = Callable[[Box, Request], Awaitable[Response]]
RECORDS = "application/x-ndjson"


class Inside:
    def __init__(self, engine: Engine, faults: Faults, refuse: Callable[[Request], Response | None]) -> None:
        self.engine = engine
        self.faults = faults
        self.old_images = False
        """Images before autumn 2026: no standard input, output as text only."""
        self.started: list[dict[str, Any]] = []
        """What was asked for of every process."""
        self.undelivered = 0
        """How many requests the gateway refuses, and says that they reached nothing."""
        self.stops: list[str] = []
        self._refuse = refuse
        self._processes: dict[tuple[str, str], Running] = {}
        self._uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self._numbers = itertools.count(1)

    def routes(self) -> list[Route]:
        base = "/sbx/{sandbox}"
        file, upload = f"{base}/filesystem/{{path:path}}", f"{base}/filesystem-multipart"
        guarded = self._guarded
        return [
            Route(f"{base}/process", guarded("exec", self.start), methods=["POST"]),
            Route(f"{base}/process/{{name}}", guarded("get", self.get), methods=["GET"]),
            Route(f"{base}/process/{{name}}/kill", guarded("terminate", self.kill), methods=["DELETE"]),
            Route(f"{base}/process/{{name}}/stdin", guarded("stdin", self.write_stdin), methods=["POST"]),
            Route(f"{base}/process/{{name}}/logs/stream", guarded("stream", self.logs), methods=["GET"]),
            Route(f"{base}/health", guarded("get", self.health), methods=["GET"]),
            Route(f"{base}/stop", guarded("write", self.stop), methods=["POST"]),
            Route(f"{upload}/initiate/{{path:path}}", guarded("write", self.begin_upload), methods=["POST"]),
            Route(f"{upload}/{{id}}/part", guarded("write", self.put_part), methods=["PUT"]),
            Route(f"{upload}/{{id}}/complete", guarded("write", self.end_upload), methods=["POST"]),
            Route(f"{upload}/{{id}}/abort", guarded("write", self.abort_upload), methods=["DELETE"]),
            Route(file, guarded("read", self.read_file), methods=["GET"]),
            Route(file, guarded("write", self.write_file), methods=["PUT"]),
            Route(file, guarded("delete", self.delete_file), methods=["DELETE"]),
        ]

    def _guarded(self, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                box = self.engine.box(request.path_params["sandbox"])
            except NoSuchBox:
                return platform_error(404, "WORKLOAD_NOT_FOUND", "the sandbox was not found")
            box.state = "running"  # whoever asks it for something wakes it
            try:
                return await handler(box, request)
            except PermissionError as error:
                return error_of(422, str(error))

        async def guarded(request: Request) -> Response:
            refused = self._refuse(request)
            if refused is not None:
                return refused
            if self.undelivered:
                self.undelivered -= 1
                return platform_error(
                    503, "UPSTREAM_CONNECT_FAILED", "not dispatched", retryable=True, safe_to_retry_request=True
                )
            return await disturbed(self.faults, operation, request, lambda: answer(request), error_of)

        return guarded

    # Processes ------------------------------------------------------------------------------------------------------

    async def start(self, box: Box, request: Request) -> Response:
        body = await request.json()
        name, key = body["name"], (box.id, body["name"])
        if key in self._processes and self._processes[key].status == "running":
            return error_of(400, f"process with name '{name}' already exists and is running")
        stdin = bool(body.get("stdin")) and not self.old_images
        process = await box.spawn(["sh", "-c", body["command"]], cwd="/workspace", env=body.get("env"))
        if not stdin:
            process.close_stdin()
        running = self._processes[key] = Running(name, body["command"], process, stdin=stdin)
        self.started.append(body)
        timeout_s = body.get("timeout", 600 if body.get("keepAlive") else 0)
        if timeout_s:
            running.kill_after(timeout_s)
        if body.get("waitForCompletion"):
            if "text/event-stream" in request.headers.get("accept", ""):
                stream = self._breakable(running.records_and_result(new=not self.old_images))
                return StreamingResponse(stream, media_type=RECORDS)
            await running.done.wait()
        return JSONResponse(running.shown(new=not self.old_images))

    def _named(self, box: Box, request: Request) -> Running | None:
        return self._processes.get((box.id, request.path_params["name"]))

    async def get(self, box: Box, request: Request) -> Response:
        running = self._named(box, request)
        return JSONResponse(running.shown(new=not self.old_images)) if running else error_of(404, "process not found")

    async def kill(self, box: Box, request: Request) -> Response:
        running = self._named(box, request)
        if running is None or running.done.is_set():
            return error_of(404, "process not found")
        running.process.kill()
        return JSONResponse({"message": "Process killed successfully"})

    async def write_stdin(self, box: Box, request: Request) -> Response:
        running = self._named(box, request)
        if running is None or self.old_images:
            return error_of(404, "not found")
        if not running.stdin or running.done.is_set():
            return error_of(409, "stdin is closed")
        data = await request.body()
        for _ in range(2 if self.faults.replay_stdin else 1):
            with contextlib.suppress(BrokenPipeError):
                await running.process.write(data)
        return JSONResponse({"message": "written"})

    async def logs(self, box: Box, request: Request) -> Response:
        running = self._named(box, request)
        if running is None:
            return error_of(422, "process not found")
        if RECORDS in request.headers.get("accept", "") and not self.old_images:
            return StreamingResponse(self._breakable(running.records()), media_type=RECORDS)
        return StreamingResponse(self._breakable(running.text()), media_type="text/plain")

    async def _breakable(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Ends when the switch says so, in the middle of what it was about to say."""
        loop, cut = asyncio.get_running_loop(), asyncio.Event()

        def drop() -> None:
            loop.call_soon_threadsafe(cut.set)

        forget = self.faults.on_drop(drop)
        stop = asyncio.ensure_future(cut.wait())
        following: asyncio.Future[bytes] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(chunks))
                await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
                if cut.is_set():
                    return
                try:
                    yield following.result()
                except StopAsyncIteration:
                    return
        finally:
            forget()
            for task in (stop, following):
                if task is not None:
                    task.cancel()

    async def health(self, box: Box, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def stop(self, box: Box, request: Request) -> Response:
        self.stops.append(box.id)
        box.state = "standby"
        return JSONResponse({"state": "auto", "scheduledStopAt": None, "keepAliveProcesses": []})

    # Files ----------------------------------------------------------------------------------------------------------

    async def read_file(self, box: Box, request: Request) -> Response:
        path = box.host_path(request.path_params["path"])
        if path.is_dir():
            return JSONResponse({"path": str(path), "files": [], "subdirectories": []})
        if not path.is_file():
            return error_of(404, "file or directory not found")
        if "application/octet-stream" not in request.headers.get("accept", ""):
            return JSONResponse({"content": path.read_text()})
        return StreamingResponse(_pieces(path.read_bytes()), media_type="application/octet-stream")

    async def write_file(self, box: Box, request: Request) -> Response:
        form = await _form(request)
        self._write(box, request.path_params["path"], form["file"])
        return JSONResponse({"path": form["path"].decode(), "message": "File uploaded successfully"})

    def _write(self, box: Box, path: str, data: bytes) -> None:
        target = box.host_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    async def delete_file(self, box: Box, request: Request) -> Response:
        path = box.host_path(request.path_params["path"])
        if not path.is_file():
            return error_of(404, "file not found")
        path.unlink()
        return JSONResponse({"message": "File deleted successfully"})

    async def begin_upload(self, box: Box, request: Request) -> Response:
        id = f"upload-{next(self._numbers)}"
        self._uploads[id] = (request.path_params["path"], {})
        return JSONResponse({"uploadId": id, "path": request.path_params["path"]})

    async def put_part(self, box: Box, request: Request) -> Response:
        number = int(request.query_params["partNumber"])
        data = (await _form(request))["file"]
        self._uploads[request.path_params["id"]][1][number] = data
        return JSONResponse({"partNumber": number, "etag": f"etag-{number}", "size": len(data)})

    async def end_upload(self, box: Box, request: Request) -> Response:
        body: Any = await request.json()
        path, parts = self._uploads.pop(request.path_params["id"])
        if [part["etag"] for part in body["parts"]] != [f"etag-{number}" for number in sorted(parts)]:
            return error_of(400, "the parts are not those that were sent")
        self._write(box, path, b"".join(parts[number] for number in sorted(parts)))
        return JSONResponse({"path": path, "message": "completed"})

    async def abort_upload(self, box: Box, request: Request) -> Response:
        self._uploads.pop(request.path_params["id"], None)
        return JSONResponse({"message": "aborted"})


async def _form(request: Request) -> dict[str, bytes]:
    """The fields of a multipart form. None of ours repeats, and the boundary is the client's random one."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    found = {}
    for part in (await request.body()).split(b"--" + boundary)[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None
        found[name[1].decode()] = data.removesuffix(b"\r\n")
    return found


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 18):
        yield data[start : start + (1 << 18)]


def error_of(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def platform_error(status: int, code: str, message: str, **more: object) -> Response:
    body = {"code": code, "message": message, "status": status, "origin": "platform", **more}
    return JSONResponse({"error": body}, status)
