"""Services, snapshots, plans and exec sessions as the client 2.1.0 speaks of them.

The exec protocol is that of the client's `_protocols`: `init` with the token, `payload` and `stdInEnd` from the client;
`init`, `stdOut`, `stdErr` and `completion` from the server, whose exit code travels as text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed
from tests.wire.process import Process

PLANS = [
    {"id": f"nf-compute-{name}", "name": name, "cpuResource": cpu, "ramResource": ram, "amountPerHour": usd}
    for name, cpu, ram, usd in (
        ("20", 0.2, 512, 0.0075), ("50", 0.5, 1024, 0.0167), ("100-2", 1, 2048, 0.0333), ("400", 4, 8192, 0.1333),
    )
]  # fmt: skip
Handler = Callable[[Request], Awaitable[Response]]


class NorthflankServer:
    def __init__(self, engine: Engine, faults: Faults, token: str, project: str) -> None:
        self.engine = engine
        self.faults = faults
        self._token = token
        self._project = project
        self.policies: dict[str, Any] = {}
        self._states: dict[str, str] = {}
        base = "/v1/projects/{project}/services"
        self.app = Starlette(
            routes=[
                Route("/v1/projects/{project}", self._guarded("list", self.get_project)),
                Route("/v1/plans", self._guarded("list", self.plans)),
                Route("/v1/network-policies", self._guarded("write", self.network_policy), methods=["POST"]),
                Route(f"{base}/deployment", self._guarded("create", self.create), methods=["POST"]),
                Route(base, self._guarded("list", self.list), methods=["GET"]),
                Route(f"{base}/{{id}}", self._guarded("get", self.get), methods=["GET"]),
                Route(f"{base}/{{id}}", self._guarded("terminate", self.delete), methods=["DELETE"]),
                Route(f"{base}/{{id}}/pause", self._guarded("write", self.pause), methods=["POST"]),
                Route(f"{base}/{{id}}/resume", self._guarded("write", self.resume), methods=["POST"]),
                Route(f"{base}/{{id}}/snapshots", self._guarded("snapshot", self.snapshot), methods=["POST"]),
                Route("/v1/container-snapshots/{id}", self._guarded("get", self.get_snapshot), methods=["GET"]),
                Route("/v1/container-snapshots/{id}", self._guarded("delete", self.drop_snapshot), methods=["DELETE"]),
                WebSocketRoute("/v1/command-exec/projects/{project}/services/{id}", self.execute),
            ]
        )

    def _guarded(self, operation: Operation, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return _error(401, "Unauthorized")
            if request.path_params.get("project", self._project) != self._project:
                return _error(404, "project not found")
            return await disturbed(self.faults, operation, request, lambda: self._answered(handler, request), _error)

        return guarded

    async def _answered(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except NoSuchBox as error:
            return _error(404, f"{error} not found")

    # Services -------------------------------------------------------------------------------------------------------

    async def get_project(self, request: Request) -> Response:
        return _ok({"id": self._project, "name": "sandboxes"})

    async def plans(self, request: Request) -> Response:
        return _ok({"plans": [{**plan, "amountPerMonth": 0.0, "currency": "USD"} for plan in PLANS]})

    async def network_policy(self, request: Request) -> Response:
        body = await request.json()
        if body["name"] in self.policies:
            return _error(409, "a network policy of this name exists")
        self.policies[body["name"]] = body
        return _ok({"id": body["name"]})

    async def create(self, request: Request) -> Response:
        body = await request.json()
        if self.faults.no_capacity:
            return _error(503, "no capacity: no nodes available")
        if body["billing"]["deploymentPlan"] not in [plan["id"] for plan in PLANS]:
            return _error(400, "no such plan")
        known = self.engine.boxes.get(body["name"])
        if known is not None and known.alive:
            return _error(409, "a service of this name exists")
        box = self.engine.create(
            id=body["name"],
            env=body.get("runtimeEnvironment"),
            snapshot=body["deployment"].get("containerSnapshot", {}).get("restoreFrom", ""),
            lifetime_s=body.get("createOptions", {}).get("expiryTime"),
        )
        box.settings = body
        self._states[box.id] = "IN_PROGRESS"
        return _ok(self._shown(box))

    def _shown(self, box: Box) -> dict[str, Any]:
        settings: Any = box.settings
        expiry = datetime.fromtimestamp(box.expires_at, UTC).isoformat() if box.expires_at else None
        return {
            "id": box.id,
            "name": box.id,
            "projectId": self._project,
            "serviceType": "deployment",
            "description": settings.get("description", ""),
            "tags": settings.get("tags", []),
            "createdAt": datetime.fromtimestamp(box.created_at, UTC).isoformat(),
            "servicePaused": box.state == "paused",
            "status": {"deployment": {"status": self._states[box.id]}},
            **({"expiryTime": expiry} if expiry else {}),
        }

    async def get(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        shown = self._shown(box)
        self._states[box.id] = "COMPLETED"  # it is up the second time that somebody looks
        return _ok(shown)

    async def list(self, request: Request) -> Response:
        return _ok({"services": [self._shown(box) for box in self.engine.alive()]})

    async def delete(self, request: Request) -> Response:
        self.engine.box(request.path_params["id"])
        self.engine.terminate(request.path_params["id"])
        return _ok({})

    async def pause(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        box.kill_processes()
        box.state = "paused"
        return _ok({})

    async def resume(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        box.state = "running"
        return _ok({})

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def snapshot(self, request: Request) -> Response:
        await self.faults.before_snapshot()
        taken = self.engine.take_snapshot(request.path_params["id"])
        self._states[taken.id] = "running"
        return _ok(self._shown_snapshot(taken.id))

    def _shown_snapshot(self, id: str) -> dict[str, Any]:
        taken = self.engine.snapshot(id)
        created = datetime.fromtimestamp(taken.created_at, UTC).isoformat()
        return {"id": id, "state": self._states[id], "createdAt": created, "compatibility": {"runtime": "kata"}}

    async def get_snapshot(self, request: Request) -> Response:
        id = request.path_params["id"]
        self.engine.snapshot(id)
        self._states[id] = "succeeded"
        return _ok(self._shown_snapshot(id))

    async def drop_snapshot(self, request: Request) -> Response:
        return _ok({}) if self.engine.delete_snapshot(request.path_params["id"]) else _error(404, "no such snapshot")

    # Exec -----------------------------------------------------------------------------------------------------------

    async def execute(self, socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has gone
            await self._execute(socket)

    async def _execute(self, socket: WebSocket) -> None:
        init = json.loads(await socket.receive_text())
        if init["data"]["auth"]["apiToken"] != self._token:
            await _say(socket, "init", {"auth": "failed", "message": "wrong token"})
            return
        if self.faults.take("stream") is not None:
            await socket.close(1011)
            return
        try:
            box = self.engine.box(socket.path_params["id"])
        except NoSuchBox:
            await _say(socket, "init", {"auth": "successful", "context": {}})
            await _say(socket, "error", {"message": "service not found"})
            return
        command = init["data"]["context"]["command"]
        process = await box.spawn(command if isinstance(command, list) else ["sh", "-c", command])
        await _say(socket, "init", {"auth": "successful", "context": {"instanceName": f"{box.id}-0"}})
        dropped = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def drop() -> None:
            loop.call_soon_threadsafe(dropped.cancel)

        forget = self.faults.on_drop(drop)
        tasks = [
            asyncio.ensure_future(each)
            for each in (self._input(socket, process), self._outputs(socket, process), _wait(dropped))
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await process.close()  # the process lives and dies with its socket
            await socket.close()

    async def _outputs(self, socket: WebSocket, process: Process) -> None:
        async def copy(reader: asyncio.StreamReader, kind: str) -> None:
            while data := await reader.read(4096):
                await _say(socket, kind, data.decode("utf-8", "replace"))

        assert process.stderr is not None
        await asyncio.gather(copy(process.stdout, "stdOut"), copy(process.stderr, "stdErr"))
        code = await process.wait()
        await _say(socket, "completion", {"exitCode": str(code), "status": "success" if code == 0 else "error"})

    async def _input(self, socket: WebSocket, process: Process) -> None:
        while True:
            frame = json.loads(await socket.receive_text())
            if frame["type"] == "stdInEnd":
                process.close_stdin()
                await asyncio.Event().wait()
            for _ in range(2 if self.faults.replay_stdin else 1):
                with contextlib.suppress(BrokenPipeError):
                    await process.write(frame["data"].encode())


async def _wait(future: asyncio.Future[None]) -> None:
    await future


async def _say(socket: WebSocket, kind: str, data: Any) -> None:
    await socket.send_text(json.dumps({"type": kind, "data": data}))


def _ok(data: Any) -> Response:
    return JSONResponse({"data": data})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"status": status, "message": message}}, status)
