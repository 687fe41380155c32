"""Devboxes, their executions, files and disk snapshots, as the API 3.0 shows them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from runloop_api_client.types import (
    DevboxSnapshotView,
    TunnelView,
    devbox_create_params,
    devbox_enable_tunnel_params,
    devbox_shutdown_params,
    devbox_snapshot_disk_async_params,
)
from runloop_api_client.types.devboxes import (
    DevboxSnapshotAsyncStatusView,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.wire.engine import Box, Engine
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed
from tests.wire.runloop import models
from tests.wire.runloop.account import Account, page
from tests.wire.runloop.inside import Inside
from tests.wire.runloop.models import Refused, error, received, shown

Handler = Callable[[Request], Awaitable[Response]]
STEPS = {"provisioning": "initializing", "initializing": "running", "suspending": "suspended", "resuming": "running"}


class RunloopServer:
    def __init__(self, engine: Engine, faults: Faults, token: str) -> None:
        self.engine = engine
        self.faults = faults
        self.account = Account()
        self.inside = inside = Inside(faults, self._running)
        self.statuses: dict[str, str] = {}
        """Of devboxes, by id; a test may set one."""
        self.created: list[dict[str, Any]] = []
        """Bodies of create calls that made something."""
        self.snapshot_requests: list[dict[str, Any]] = []
        self.snapshot_statuses: dict[str, str] = {}
        self.snapshot_failure = ""
        self.kept_alive: list[str] = []
        self.page_size = 5000
        self._snapshots: dict[str, DevboxSnapshotView] = {}
        self._tunnels: dict[str, TunnelView] = {}
        self._keys: dict[str, str] = {}
        self._token = token
        self._numbers = itertools.count(1)
        one, run = "/v1/devboxes/{id}", "/v1/devboxes/{id}/executions/{execution}"
        self.app = Starlette(
            routes=[
                self._route("/v1/network-policies", "POST", "write", self.account.create_policy),
                self._route("/v1/network-policies", "GET", "list", self.account.list_policies),
                self._route("/v1/blueprints", "POST", "write", self.account.create_blueprint),
                self._route("/v1/blueprints/{id}", "GET", "list", self.account.get_blueprint),
                self._route("/v1/devboxes/disk_snapshots", "GET", "list", self.list_snapshots),
                self._route("/v1/devboxes/disk_snapshots/{id}/status", "GET", "list", self.snapshot_status),
                self._route("/v1/devboxes/disk_snapshots/{id}/delete", "POST", "delete", self.drop_snapshot),
                self._route("/v1/devboxes", "POST", "create", self.create),
                self._route("/v1/devboxes", "GET", "list", self.list),
                self._route(one, "GET", "get", self.get),
                self._route(f"{one}/shutdown", "POST", "terminate", self.shutdown),
                self._route(f"{one}/suspend", "POST", "write", self.suspend),
                self._route(f"{one}/resume", "POST", "write", self.resume),
                self._route(f"{one}/keep_alive", "POST", "write", self.keep_alive),
                self._route(f"{one}/enable_tunnel", "POST", "write", self.enable_tunnel),
                self._route(f"{one}/snapshot_disk_async", "POST", "snapshot", self.snapshot),
                self._route(f"{one}/execute", "POST", "exec", inside.execute),
                self._route(f"{one}/execute_async", "POST", "stream", inside.execute_async),
                self._route(f"{run}/wait_for_status", "POST", "exec", inside.wait_for_status),
                self._route(f"{run}/send_std_in", "POST", "stdin", inside.send_std_in),
                self._route(f"{run}/stream_stdout_updates", "GET", "stream", inside.stream_stdout),
                self._route(f"{run}/kill", "POST", "stream", inside.kill),
                self._route(f"{one}/upload_file", "POST", "write", inside.upload),
                self._route(f"{one}/download_file", "POST", "read", inside.download),
            ]
        )

    def _route(self, path: str, method: str, operation: Operation, handler: Handler) -> Route:
        async def guarded(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return error(401, "Invalid API key")
            what = operation
            if operation == "create" and (await request.json()).get("snapshot_id"):
                what = "restore"
            return await disturbed(self.faults, what, request, lambda: answered(request), error)

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused as refusal:
                return refusal.answer()

        return Route(path, guarded, methods=[method])

    # Devboxes -------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        """A key that was there before leads to its devbox, whatever became of that."""
        asked = await received(request, devbox_create_params.DevboxCreateParams)
        key = request.headers["x-request-id"]
        if key in self._keys:
            return shown(self._shown(self.engine.boxes[self._keys[key]]))
        launch = asked.get("launch_parameters") or {}
        models.require_launch(launch)
        if sum(bool(asked.get(name)) for name in ("blueprint_id", "blueprint_name", "snapshot_id")) > 1:
            raise Refused(400, "only one of snapshot and blueprint")
        self.account.require_blueprint(asked)
        if launch.get("network_policy_id") not in {None, *self.account.policies}:
            raise Refused(400, "no such network policy")
        snapshot = asked.get("snapshot_id") or ""
        if snapshot and self.snapshot_statuses.get(snapshot) != "complete":
            raise Refused(404, f"snapshot {snapshot} not found")
        if self.faults.no_capacity:
            raise Refused(503, "no machine is free")
        box = self.engine.create(
            id=f"dbx_{next(self._numbers)}",
            labels=asked.get("metadata"),
            env=asked.get("environment_variables"),
            snapshot=snapshot,
            lifetime_s=launch.get("keep_alive_time_seconds", 3600) if not launch.get("lifecycle") else None,
        )
        box.settings = {"asked": asked, "key": key}
        self.statuses[box.id] = "provisioning"
        self.created.append(asked)
        self._keys[key] = box.id
        return shown(self._shown(box))

    def _shown(self, box: Box) -> Any:
        status = self._status(box)
        extra: dict[str, Any] = {"shutdown_reason": "api_shutdown"} if status == "shutdown" else {}
        if box.id in self._tunnels:
            extra["tunnel"] = self._tunnels[box.id].model_dump()
        return models.devbox(box, dict(box.settings["asked"]), status, extra)  # type: ignore[call-overload]

    def _status(self, box: Box) -> str:
        if box.alive and box.expires_at is not None and time.time() >= box.expires_at:
            self.engine.terminate(box.id)
        return self.statuses[box.id] if box.alive else "shutdown"

    def _box(self, request: Request) -> Box:
        box = self.engine.boxes.get(request.path_params["id"])
        if box is None:
            raise Refused(404, "devbox not found")
        return box

    def _running(self, request: Request) -> Box:
        box = self._box(request)
        status = self._status(box)
        if status != "running":
            raise Refused(400, f"devbox {box.id} is {status}, not running")
        return box

    async def get(self, request: Request) -> Response:
        """It goes on by a step whenever somebody has looked."""
        box = self._box(request)
        answer = shown(self._shown(box))
        if box.alive:
            self.statuses[box.id] = STEPS.get(self.statuses[box.id], self.statuses[box.id])
        return answer

    async def list(self, request: Request) -> Response:
        status = request.query_params.get("status")
        views = [self._shown(box) for box in self.engine.boxes.values() if box.id in self.statuses]
        return page("devboxes", [view for view in views if status in (None, view.status)], request, self.page_size)

    async def shutdown(self, request: Request) -> Response:
        await received(request, devbox_shutdown_params.DevboxShutdownParams)
        box = self._box(request)
        saving = any(
            self._snapshots[id].source_devbox_id == box.id and status == "in_progress"
            for id, status in self.snapshot_statuses.items()
        )
        if saving and request.query_params.get("force") != "true":
            raise Refused(409, "a snapshot is in progress")
        self.engine.terminate(box.id)
        return shown(self._shown(box))

    async def suspend(self, request: Request) -> Response:
        box = self._running(request)
        box.kill_processes()
        self.statuses[box.id] = "suspending"
        return shown(self._shown(box))

    async def resume(self, request: Request) -> Response:
        box = self._box(request)
        if self._status(box) != "suspended":
            raise Refused(400, "only a suspended devbox can be resumed")
        self.statuses[box.id] = "resuming"
        return shown(self._shown(box))

    async def keep_alive(self, request: Request) -> Response:
        self.kept_alive.append(self._running(request).id)
        return JSONResponse({})

    async def enable_tunnel(self, request: Request) -> Response:
        asked = await received(request, devbox_enable_tunnel_params.DevboxEnableTunnelParams)
        box = self._running(request)
        if box.id in self._tunnels:
            raise Refused(400, "a devbox has one tunnel")
        self._tunnels[box.id] = TunnelView(
            auth_mode=asked.get("auth_mode") or "open",
            create_time_ms=0,
            http_keep_alive=asked.get("http_keep_alive", True),
            wake_on_http=asked.get("wake_on_http", False),
            tunnel_key=f"key-of-{box.id}",
        )
        return shown(self._tunnels[box.id])

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def snapshot(self, request: Request) -> Response:
        asked = await received(request, devbox_snapshot_disk_async_params.DevboxSnapshotDiskAsyncParams)
        key = request.headers["x-request-id"]
        if key in self._keys:
            return shown(self._snapshots[self._keys[key]])
        box = self._running(request)
        self.snapshot_requests.append(asked)
        await self.faults.before_snapshot()
        taken = self.engine.take_snapshot(box.id, snapshot_id=f"snp_{next(self._numbers)}")
        made = self._snapshots[taken.id] = DevboxSnapshotView(
            id=taken.id,
            create_time_ms=int(taken.created_at * 1000),
            metadata=asked.get("metadata") or {},
            source_devbox_id=box.id,
            name=asked.get("name"),
            commit_message=asked.get("commit_message"),
        )
        self.snapshot_statuses[taken.id] = "in_progress"
        self._keys[key] = taken.id
        return shown(made)

    async def snapshot_status(self, request: Request) -> Response:
        id = request.path_params["id"]
        found = self._snapshots.get(id)
        if found is None:
            raise Refused(404, "snapshot not found")
        status: Any = self.snapshot_statuses[id]
        if status == "in_progress":  # it is done the second time that somebody looks
            self.snapshot_statuses[id] = "error" if self.snapshot_failure else "complete"
        if status == "complete":
            found.size_bytes = 4096
        return shown(
            DevboxSnapshotAsyncStatusView(
                status=status,
                error_message=self.snapshot_failure or None if status == "error" else None,
                snapshot=found if status == "complete" else None,
            )
        )

    async def list_snapshots(self, request: Request) -> Response:
        wanted = request.query_params.get("devbox_id")
        found = [each for each in self._snapshots.values() if wanted in (None, each.source_devbox_id)]
        return page("snapshots", found, request)

    async def drop_snapshot(self, request: Request) -> Response:
        id = request.path_params["id"]
        if self.snapshot_statuses.get(id) in (None, "deleted"):
            raise Refused(404, "snapshot not found")
        self.engine.delete_snapshot(id)
        self.snapshot_statuses[id] = "deleted"
        return JSONResponse({})
