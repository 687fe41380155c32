"""Sandboxes, snapshots and keys as the API 0.226 shows them, with its rules for classes, states and names."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from daytona_api_client import (
    ApiKeyList,
    CreateSandbox,
    CreateSandboxSnapshot,
    ListSandboxesResponse,
    Sandbox,
    SignedPortPreviewUrl,
    SnapshotDto,
    ToolboxProxyUrl,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.wire.daytona import models
from tests.wire.daytona.models import Refused, error, received, shown
from tests.wire.daytona.toolbox import Toolbox
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

DEFAULT_SIZES = {"cpu": 1, "gpu": 0, "memory": 1, "disk": 3}
VM_SNAPSHOTS = {
    f"daytona-vm-{name}": {"cpu": cpu, "gpu": 0, "memory": memory, "disk": 10}
    for name, cpu, memory in (("small", 1, 1), ("medium", 2, 4), ("large", 4, 8))
}
Handler = Callable[[Request], Awaitable[Response]]


class DaytonaServer:
    def __init__(self, engine: Engine, faults: Faults, token: str) -> None:
        self.engine = engine
        self.faults = faults
        self._token = token
        self.toolbox = Toolbox(engine, faults, token)
        self.snapshot_cap = 60
        self.snapshot_states: dict[str, str] = {}
        self.snapshot_requests: list[CreateSandboxSnapshot] = []
        self.permissions = ["write:sandboxes", "delete:sandboxes", "write:snapshots", "delete:snapshots"]
        self._asked: dict[str, CreateSandbox] = {}
        self.states: dict[str, str] = {}
        """Of sandboxes, by id; a test may set one."""
        self._never_started: dict[str, Sandbox] = {}
        self._snapshot_kinds: dict[str, tuple[dict[str, Any], str]] = {}
        one = "/api/sandbox/{id}"
        self.app = Starlette(
            routes=[
                *self.toolbox.routes,
                self._route("/api/api-keys/current", "GET", "list", self.key),
                self._route("/api/sandbox", "POST", "create", self.create),
                self._route("/api/sandbox", "GET", "list", self.list),
                self._route(one, "GET", "get", self.get),
                self._route(one, "DELETE", "terminate", self.delete),
                self._route(f"{one}/start", "POST", "write", self.start),
                self._route(f"{one}/stop", "POST", "write", self.stop),
                self._route(f"{one}/pause", "POST", "write", self.pause),
                self._route(f"{one}/ttl/{{minutes:int}}", "POST", "write", self.set_ttl),
                self._route(f"{one}/snapshot", "POST", "snapshot", self.snapshot),
                self._route(f"{one}/toolbox-proxy-url", "GET", "get", self.proxy_url),
                self._route(f"{one}/ports/{{port:int}}/signed-preview-url", "GET", "get", self.port_url),
                self._route("/api/snapshots/{id}", "GET", "restore", self.get_snapshot),
                self._route("/api/snapshots/{id}", "DELETE", "delete", self.drop_snapshot),
                self._route("/api/snapshots/{id}/activate", "POST", "restore", self.activate),
            ]
        )

    def _route(self, path: str, method: str, operation: Operation, handler: Handler) -> Route:
        async def guarded(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return error(401, "Unauthorized")
            return await disturbed(self.faults, operation, request, lambda: answered(request), error)

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused as refusal:
                return refusal.answer()
            except NoSuchBox as absent:
                return error(404, f"{absent} not found")

        return Route(path, guarded, methods=[method])

    async def key(self, request: Request) -> Response:
        return shown(
            ApiKeyList(
                name="tests",
                value="dtn_***",
                created_at=datetime.now(UTC),
                permissions=self.permissions,
                last_used_at=None,
                expires_at=None,
                user_id="me",
            )
        )

    # Sandboxes ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        asked = await received(request, CreateSandbox)
        sizes, kind = self._checked(asked)
        if any(self._asked[box.id].name == asked.name for box in self.engine.alive()):
            raise Refused(409, f"Sandbox with name {asked.name} already exists")
        address = f"{request.url.scheme}://{request.url.netloc}"
        if self.faults.no_capacity:
            return shown(self._queued_out(asked, sizes, kind, address))
        box = self.engine.create(
            id=str(uuid4()),
            labels=asked.labels,
            env=asked.env,
            snapshot=asked.snapshot if asked.snapshot in self.engine.snapshots else "",
            lifetime_s=asked.ttl_minutes * 60 if asked.ttl_minutes else None,
        )
        box.settings = {"sizes": sizes, "class": kind, "address": address, "asked": asked}
        self._asked[box.id] = asked
        self.states[box.id] = "creating"
        return shown(self._shown(box))

    def _checked(self, asked: CreateSandbox) -> tuple[dict[str, Any], str]:
        """The rules of the API that a client can break."""
        sizes, kind = dict(DEFAULT_SIZES), "container"
        if asked.snapshot:
            sizes, kind = self._source(asked.snapshot)
            if asked.cpu or asked.memory or asked.disk or asked.gpu:
                raise Refused(400, "resources cannot be given with a snapshot")
        elif asked.build_info is None:
            raise Refused(400, "neither a snapshot nor an image")
        else:
            given = {"cpu": asked.cpu, "gpu": asked.gpu, "memory": asked.memory, "disk": asked.disk}
            sizes |= {name: size for name, size in given.items() if size}
        if sizes["gpu"] and asked.auto_delete_interval != 0:
            raise Refused(400, "GPU sandboxes must be ephemeral")
        if asked.auto_pause_interval and (kind == "container" or asked.auto_delete_interval == 0):
            raise Refused(400, "auto-pause is not supported for this sandbox")
        return sizes, kind

    def _source(self, name: str) -> tuple[dict[str, Any], str]:
        if name in VM_SNAPSHOTS:
            return VM_SNAPSHOTS[name], "linux-vm"
        if self._snapshot_state(name) != "active":
            raise Refused(400, f"Snapshot {name} is not active")
        return self._snapshot_kinds[name]

    def _queued_out(self, asked: CreateSandbox, sizes: dict[str, Any], kind: str, address: str) -> Sandbox:
        """It waits for a runner, and is destroyed when none came; for a day its id still tells of it."""
        box = Box(str(uuid4()), self.engine.folder, {}, {}, settings={"sizes": sizes, "class": kind})
        timed_out = {"queue_timed_out_at": models.iso(time.time())}
        self._never_started[box.id] = models.sandbox(box, asked, "destroyed", address, timed_out)
        return models.sandbox(box, asked, "pulling_snapshot", address)

    def _shown(self, box: Box) -> Sandbox:
        address = str(box.settings["address"])
        return models.sandbox(box, self._asked[box.id], self.states[box.id], address)

    def _box(self, request: Request) -> Box:
        """By id or name."""
        wanted = request.path_params["id"]
        for box in self.engine.alive():
            if self._asked[box.id].name == wanted:
                return self.engine.box(box.id)
        return self.engine.box(wanted)

    async def get(self, request: Request) -> Response:
        gone = self._never_started.get(request.path_params["id"])
        if gone is not None:
            return shown(gone)
        box = self._box(request)
        if self.states[box.id] in ("creating", "starting", "snapshotting"):
            self.states[box.id] = "started"  # it is ready when somebody looks
        return shown(self._shown(box))

    async def list(self, request: Request) -> Response:
        wanted = json.loads(request.query_params.get("labels", "{}"))
        found = self.engine.find(wanted)
        start, limit = int(request.query_params.get("cursor", "0")), int(request.query_params.get("limit", "100"))
        following = str(start + limit) if start + limit < len(found) else None
        items = [models.list_item(self._shown(box)) for box in found[start : start + limit]]
        return shown(ListSandboxesResponse(items=items, next_cursor=following))

    async def delete(self, request: Request) -> Response:
        box = self._box(request)
        dead = self._shown(box)
        self.engine.terminate(box.id)
        self.states[box.id] = "destroyed"
        return shown(dead)

    async def start(self, request: Request) -> Response:
        box = self._box(request)
        box.state, self.states[box.id] = "running", "starting"
        return shown(self._shown(box))

    async def stop(self, request: Request) -> Response:
        box = self._box(request)
        box.kill_processes()
        if self._asked[box.id].auto_delete_interval == 0:
            self.engine.terminate(box.id)
            return shown(self._shown(box))
        box.state, self.states[box.id] = "stopped", "stopped"
        return shown(self._shown(box))

    async def pause(self, request: Request) -> Response:
        box = self._box(request)
        if box.settings["class"] != "linux-vm":
            raise Refused(400, "containers cannot be paused")
        box.state, self.states[box.id] = "paused", "paused"
        return shown(self._shown(box))

    async def set_ttl(self, request: Request) -> Response:
        box = self._box(request)
        box.expires_at = time.time() + request.path_params["minutes"] * 60
        return shown(self._shown(box))

    async def proxy_url(self, request: Request) -> Response:
        return shown(ToolboxProxyUrl(url=f"{request.url.scheme}://{request.url.netloc}/toolbox"))

    async def port_url(self, request: Request) -> Response:
        box, port = self._box(request), request.path_params["port"]
        lifetime_s = request.query_params.get("expiresInSeconds")
        url = f"https://{port}-{lifetime_s}.preview.example"
        return shown(SignedPortPreviewUrl(sandbox_id=box.id, port=port, token="t", url=url))

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def snapshot(self, request: Request) -> Response:
        asked = await received(request, CreateSandboxSnapshot)
        self.snapshot_requests.append(asked)
        box = self._box(request)
        kind = str(box.settings["class"])
        if asked.include_memory and kind != "linux-vm":
            raise Refused(400, "containers have no memory snapshots")
        if kind == "linux-vm" and (box.state == "running") != bool(asked.include_memory):
            raise Refused(400, "a VM is saved with its memory when it is started, without when it is stopped")
        if len(self.engine.snapshots) >= self.snapshot_cap:
            raise Refused(403, f"Snapshot quota exceeded. Maximum allowed: {self.snapshot_cap}")
        await self.faults.before_snapshot()
        self.engine.take_snapshot(box.id, snapshot_id=asked.name)
        self._snapshot_kinds[asked.name] = (dict(box.settings["sizes"]), kind)  # type: ignore[call-overload]
        self.snapshot_states[asked.name] = "snapshotting"
        self.states[box.id] = "snapshotting"
        return shown(self._shown(box))

    def _snapshot_state(self, name: str) -> str:
        """Raises `NoSuchBox`."""
        self.engine.snapshot(name)
        return self.snapshot_states[name]

    def _snapshot_name(self, request: Request) -> str:
        wanted = str(request.path_params["id"])
        return next((name for name in self.engine.snapshots if models.snapshot_id(name) == wanted), wanted)

    def _shown_snapshot(self, name: str) -> SnapshotDto:
        if name in VM_SNAPSHOTS:
            return models.snapshot(name, "active", VM_SNAPSHOTS[name], "linux-vm")
        state = self._snapshot_state(name)
        return models.snapshot(name, state, *self._snapshot_kinds[name], self.engine.snapshot(name))

    async def get_snapshot(self, request: Request) -> Response:
        name = self._snapshot_name(request)
        answer = shown(self._shown_snapshot(name))
        if self.snapshot_states.get(name) in ("snapshotting", "pending"):
            self.snapshot_states[name] = "active"  # it is ready the second time that somebody looks
        return answer

    async def drop_snapshot(self, request: Request) -> Response:
        """By id only."""
        name = self._snapshot_name(request)
        if name == request.path_params["id"]:
            raise Refused(404, f"no snapshot has the id {name}")
        self.engine.delete_snapshot(name)
        return Response(status_code=200)

    async def activate(self, request: Request) -> Response:
        name = self._snapshot_name(request)
        self._snapshot_state(name)
        self.snapshot_states[name] = "pending"
        return shown(self._shown_snapshot(name))
