"""The API 2.63 as its client knows it: sandboxes, snapshots, idempotency keys. Bodies are the vendor's own models."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from e2b.api.client.models import (
    ConnectSandboxV2,
    ListedSandbox,
    NewSandboxV2,
    Sandbox,
    SandboxDetail,
    SandboxPauseRequest,
    SandboxSnapshotRequest,
    SandboxState,
    SandboxTimeoutRequest,
    SnapshotInfo,
    TemplateBuildInfo,
    TemplateBuildRequestV3,
    TemplateBuildStartV2,
    TemplateBuildStatus,
    TemplateRequestResponseV3,
)
from e2b.api.client.types import Unset
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.wire.e2b.envd import Envd, error_of, token_of
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

ENVD_VERSION = "0.6.7"
TEMPLATES = {"base": (2, 512)}
MAX_LIFETIME_S = 24 * 3600
DEFAULT_TIMEOUT_S = 300
TEAM = "team"
Handler = Callable[[Request], Awaitable[Response]]


class E2BServer:
    def __init__(self, engine: Engine, faults: Faults, token: str) -> None:
        self.engine = engine
        self.faults = faults
        self.envd = Envd(engine, faults)
        self.templates = dict(TEMPLATES)
        self.max_running = 1_000_000
        self.files_only_refusal = 0
        """Status with which snapshots of files only are refused; 0: they are not."""
        self.snapshot_modes: list[str] = []
        self.created: list[dict[str, Any]] = []
        """Bodies of create calls that made something."""
        self.page_size = 100
        self.builds: dict[str, dict[str, Any]] = {}
        """Requests for templates and for their builds, by id."""
        self.build_error = ""
        self._token = token
        self._keys: dict[str, tuple[dict[str, Any], str]] = {}
        self._numbers = itertools.count(1)
        one = "/sandboxes/{id}"
        self.app = Starlette(
            routes=[
                *self.envd.routes(),
                self._route("/v2/sandboxes", "POST", "create", self.create),
                self._route("/v2/sandboxes", "GET", "list", self.list),
                self._route("/v2/sandboxes/{id}/connect", "POST", "write", self.connect),
                self._route(one, "GET", "get", self.get),
                self._route(one, "DELETE", "terminate", self.kill),
                self._route(f"{one}/timeout", "POST", "write", self.set_timeout),
                self._route(f"{one}/pause", "POST", "write", self.pause),
                self._route(f"{one}/snapshots", "POST", "snapshot", self.snapshot),
                self._route("/snapshots", "GET", "list", self.list_snapshots),
                self._route("/v3/templates", "POST", "write", self.begin_template),
                self._route("/v2/templates/{id}/builds/{build}", "POST", "write", self.build_template),
                self._route("/templates/{id}/builds/{build}/status", "GET", "get", self.build_status),
                self._route("/templates/{id:path}", "DELETE", "delete", self.delete_snapshot),
            ]
        )

    def _route(self, path: str, method: str, operation: Operation, handler: Handler) -> Route:
        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except NoSuchBox as absent:
                return error_of(404, f"{absent} not found")

        async def guarded(request: Request) -> Response:
            if request.headers.get("x-api-key") != self._token:
                return error_of(401, "Invalid API key")
            what = operation
            if operation == "create" and _name((await request.json())["templateID"]) in self.engine.snapshots:
                what = "restore"
            return await disturbed(self.faults, what, request, lambda: answered(request), error_of)

        return Route(path, guarded, methods=[method])

    # Sandboxes ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = await request.json()
        asked = NewSandboxV2.from_dict(body)
        key = request.headers.get("idempotency-key")
        if key in self._keys:
            known, id = self._keys[key]
            if known != body:
                return error_of(409, "the key was used with another request", "idempotency_request_mismatch")
            return JSONResponse(self._shown(self.engine.boxes[id]).to_dict(), 201)
        if self.faults.no_capacity:
            return error_of(503, "no node has room for the sandbox", "sandbox_capacity_unavailable")
        if len(self.engine.alive()) >= self.max_running:
            return error_of(
                429, f"you have reached the maximum number of concurrent E2B sandboxes ({self.max_running})"
            )
        name = _name(asked.template_id)
        if name not in self.engine.snapshots and asked.template_id not in self.templates:
            return error_of(404, f"template '{asked.template_id}' not found")
        timeout_s = DEFAULT_TIMEOUT_S if isinstance(asked.timeout, Unset) else asked.timeout
        if timeout_s > MAX_LIFETIME_S:
            return error_of(400, f"Timeout cannot be greater than {MAX_LIFETIME_S // 3600} hours")
        box = self.engine.create(
            id=f"i{next(self._numbers):019d}",
            labels=body.get("metadata"),
            env=body.get("envVars"),
            snapshot=name if name in self.engine.snapshots else "",
            lifetime_s=timeout_s,
        )
        box.settings = {"asked": body, "template": asked.template_id}
        self.created.append(body)
        if key:
            self._keys[key] = (body, box.id)
        return JSONResponse(self._shown(box).to_dict(), 201)

    def _shown(self, box: Box) -> Sandbox:
        template = str(box.settings["template"])
        return Sandbox(template, box.id, "client", ENVD_VERSION, envd_access_token=token_of(box), domain=None)

    def _described(self, box: Box, kind: type[Any]) -> Any:
        cpu, memory_mb = self.templates.get(str(box.settings["template"]), (2, 512))
        found = kind(
            template_id=str(box.settings["template"]),
            sandbox_id=box.id,
            client_id="client",
            started_at=datetime.fromtimestamp(box.created_at, UTC),
            end_at=datetime.fromtimestamp(box.expires_at or 0, UTC),
            envd_version=ENVD_VERSION,
            cpu_count=cpu,
            memory_mb=memory_mb,
            disk_size_mb=1024,
            state=SandboxState.PAUSED if box.state == "paused" else SandboxState.RUNNING,
            metadata=dict(box.labels),
        )
        if kind is SandboxDetail:
            found.envd_access_token, found.domain = token_of(box), None
        return found.to_dict()

    def _box(self, request: Request) -> Box:
        return self.engine.box(request.path_params["id"])

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._described(self._box(request), SandboxDetail))

    async def list(self, request: Request) -> Response:
        pairs = parse_qsl(request.query_params.get("metadata", ""))
        found = self.engine.find({unquote(name): unquote(value) for name, value in pairs})
        limit = min(self.page_size, int(request.query_params.get("limit", "100")))
        start = int(request.query_params.get("nextToken", "0"))
        more = {"x-next-token": str(start + limit)} if start + limit < len(found) else {}
        page = [self._described(box, ListedSandbox) for box in found[start : start + limit]]
        return JSONResponse(page, headers=more)

    async def kill(self, request: Request) -> Response:
        box = self._box(request)
        self.engine.terminate(box.id)
        self.envd.processes.drop_streams(box)
        return Response(status_code=204)

    async def set_timeout(self, request: Request) -> Response:
        asked = SandboxTimeoutRequest.from_dict(await request.json())
        self._box(request).expires_at = time.time() + asked.timeout
        return Response(status_code=204)

    async def pause(self, request: Request) -> Response:
        SandboxPauseRequest.from_dict(await request.json())
        box = self._box(request)
        if box.state == "paused":
            return error_of(409, "the sandbox is paused")
        box.state, box.expires_at = "paused", None
        self.envd.processes.drop_streams(box)
        return Response(status_code=204)

    async def connect(self, request: Request) -> Response:
        """Wakes it. Whoever says no time gives it five minutes."""
        asked = ConnectSandboxV2.from_dict(await request.json())
        box = self._box(request)
        timeout_s = DEFAULT_TIMEOUT_S if isinstance(asked.timeout, Unset) else asked.timeout
        status, box.state = (201 if box.state == "paused" else 200), "running"
        box.expires_at = max(box.expires_at or 0, time.time() + timeout_s)
        return JSONResponse(self._shown(box).to_dict(), status)

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def snapshot(self, request: Request) -> Response:
        body = await request.json()
        asked, box = SandboxSnapshotRequest.from_dict(body), self._box(request)
        files_only = asked.memory is False
        if files_only and self.files_only_refusal:
            return error_of(self.files_only_refusal, "snapshots of the filesystem only are refused")
        await self.faults.before_snapshot()
        self.envd.processes.drop_streams(box)  # it is paused meanwhile, which no stream survives
        self.snapshot_modes.append("filesystem" if files_only else "full")
        name = asked.name if isinstance(asked.name, str) else f"snapshot-{next(self._numbers)}"
        self.engine.take_snapshot(box.id, snapshot_id=name)
        return JSONResponse(_snapshot(name), 201)

    async def list_snapshots(self, request: Request) -> Response:
        parent = request.query_params.get("sandboxID")
        found = [each for each in self.engine.snapshots.values() if parent in (None, each.parent)]
        return JSONResponse([_snapshot(each.id) for each in found])

    async def delete_snapshot(self, request: Request) -> Response:
        name = _name(request.path_params["id"])
        if not self.engine.delete_snapshot(name):
            return error_of(404, f"template '{name}' not found")
        return Response(status_code=204)

    # Templates ------------------------------------------------------------------------------------------------------

    async def begin_template(self, request: Request) -> Response:
        body = await request.json()
        asked = TemplateBuildRequestV3.from_dict(body)
        id = f"template{next(self._numbers)}"
        self.builds[id] = {"request": body}
        shown = TemplateRequestResponseV3(id, f"build-{id}", False, [str(asked.name)], [], [])
        return JSONResponse(shown.to_dict(), 202)

    async def build_template(self, request: Request) -> Response:
        body = await request.json()
        TemplateBuildStartV2.from_dict(body)
        self.builds[request.path_params["id"]] |= {"start": body, "polls": 0}
        return Response(status_code=202)

    async def build_status(self, request: Request) -> Response:
        """It is ready the second time that somebody looks."""
        id = request.path_params["id"]
        build = self.builds[id]
        build["polls"] += 1
        status, reason = TemplateBuildStatus.BUILDING, dict[str, Any]()
        if build["polls"] > 1:
            status = TemplateBuildStatus.ERROR if self.build_error else TemplateBuildStatus.READY
            asked = build["request"]
            if self.build_error:
                reason = {"reason": {"message": self.build_error}}
            else:
                self.templates[asked["name"]] = (asked["cpuCount"], asked["memoryMB"])
        shown = TemplateBuildInfo([], [], id, f"build-{id}", status).to_dict()
        return JSONResponse({**shown, **reason})


def _snapshot(name: str) -> dict[str, Any]:
    full = f"{TEAM}/{name}:default"
    shown = SnapshotInfo(snapshot_id=full, names=[full]).to_dict()
    assert json.dumps(shown)
    return shown


def _name(template: str) -> str:
    return template.removeprefix(f"{TEAM}/").removesuffix(":default")
