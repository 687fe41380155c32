"""What `sandboxes/providers/cloudflare/worker/worker.js` answers, over the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.wire.cloudflare.server import events_of
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed
from tests.wire.process import Process

Handler = Callable[[Request], Awaitable[Response]]


class WorkerServer:
    def __init__(self, engine: Engine, faults: Faults, key: str) -> None:
        self.engine = engine
        self.faults = faults
        self.address = ""
        self._key = key
        served, box = self._served, "/v1/sandbox/{id}"
        self.app = Starlette(
            routes=[
                Route("/v1/ping", served("get", self.ping), methods=["GET"]),
                Route("/v1/sandboxes", served("list", self.list), methods=["GET"]),
                Route(box, served("create", self.begin), methods=["PUT"]),
                Route(box, served("get", self.info), methods=["GET"]),
                Route(box, served("terminate", self.end), methods=["DELETE"]),
                Route(f"{box}/exec", served("exec", self.exec), methods=["POST"]),
                Route(f"{box}/extend", served("write", self.extend), methods=["POST"]),
                Route(f"{box}/snapshot", served("snapshot", self.snapshot), methods=["POST"]),
                Route("/v1/snapshot/{id}", served("delete", self.forget), methods=["DELETE"]),
                WebSocketRoute(f"{box}/pipe", self.pipe),
            ]
        )

    def _served(self, operation: Operation, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except NoSuchBox as error:
                return _error(404, f"there is no {error}", "not_found")

        async def served(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self._key}":
                return _error(401, "Unauthorized", "unauthorized")
            return await disturbed(
                self.faults, operation, request, lambda: answer(request), lambda status, text: _error(status, text, "")
            )

        return served

    async def ping(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def list(self, request: Request) -> Response:
        return JSONResponse({"sandboxes": [_shown(box) for box in self.engine.alive()]})

    async def begin(self, request: Request) -> Response:
        id, asked = request.path_params["id"], await request.json()
        if self.faults.no_capacity:
            return _error(503, "no capacity", "capacity_exceeded")
        known = self.engine.boxes.get(id)
        if known is not None and known.alive:
            return JSONResponse(_shown(known))
        snapshot = self.engine.snapshots.get(asked["snapshot"])
        if snapshot is not None and snapshot.expired:
            return _error(410, "the snapshot has expired", "snapshot_expired")
        box = self.engine.create(
            id=id,
            labels=asked["labels"],
            env=asked["env"],
            snapshot=asked["snapshot"],
            lifetime_s=asked["lifetime_s"],
        )
        box.settings = asked
        return JSONResponse(_shown(box))

    async def info(self, request: Request) -> Response:
        return JSONResponse(_shown(self.engine.box(request.path_params["id"])))

    async def end(self, request: Request) -> Response:
        self.engine.terminate(request.path_params["id"])
        return Response(status_code=204)

    async def extend(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        box.expires_at = (box.expires_at or 0) + (await request.json())["seconds"]
        return JSONResponse(_shown(box))

    async def exec(self, request: Request) -> Response:
        process = await self.engine.box(request.path_params["id"]).spawn((await request.json())["argv"])
        return StreamingResponse(events_of(process), media_type="text/event-stream")

    async def snapshot(self, request: Request) -> Response:
        asked = await request.json()
        box = self.engine.box(request.path_params["id"])
        await self.faults.before_snapshot()
        taken = self.engine.take_snapshot(box.id, lifetime_s=asked["ttl_s"])
        times = {"created_at": taken.created_at, "expires_at": taken.expires_at}
        return JSONResponse({"id": taken.id, "size": 4096, **times})

    async def forget(self, request: Request) -> Response:
        self.engine.delete_snapshot(request.path_params["id"])
        return Response(status_code=204)

    # Pipes ----------------------------------------------------------------------------------------------------------

    async def pipe(self, socket: WebSocket) -> None:
        if socket.headers.get("authorization") != f"Bearer {self._key}":
            await socket.send_denial_response(_error(401, "Unauthorized", "unauthorized"))
            return
        try:
            box = self.engine.box(socket.path_params["id"])
        except NoSuchBox as error:
            await socket.send_denial_response(_error(404, f"there is no {error}", "not_found"))
            return
        process = await box.spawn(json.loads(socket.query_params["argv"]))
        await socket.accept()
        loop = asyncio.get_running_loop()
        dropped: asyncio.Future[None] = loop.create_future()

        def drop() -> None:
            loop.call_soon_threadsafe(dropped.cancel)

        forget = self.faults.on_drop(drop)
        tasks: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._input(socket, process)),
            asyncio.ensure_future(_output(socket, process)),
            dropped,
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await process.close()
            with contextlib.suppress(RuntimeError):  # the client has gone first
                await socket.close()

    async def _input(self, socket: WebSocket, process: Process) -> None:
        with contextlib.suppress(WebSocketDisconnect, OSError):
            while True:
                data = await socket.receive_bytes()
                for _ in range(2 if self.faults.replay_stdin else 1):
                    await process.write(data)


async def _output(socket: WebSocket, process: Process) -> None:
    while data := await process.stdout.read(65536):
        await socket.send_bytes(data)
    await socket.send_text(json.dumps({"type": "exit", "code": await process.wait()}))


def _shown(box: Box) -> dict[str, Any]:
    return {"id": box.id, "created_at": box.created_at, "expires_at": box.expires_at, "labels": dict(box.labels)}


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": message, "code": code}, status)
