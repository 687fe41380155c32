"""Blaxel's control plane, version 2026-09-22: sandboxes, snapshots, forks. Shapes: the models of the SDK 0.4.24."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.wire.blaxel.inside import Inside, platform_error
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.http import disturbed

Handler = Callable[[Request], Awaitable[Response]]
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class BlaxelServer:
    def __init__(self, engine: Engine, faults: Faults, key: str, workspace: str) -> None:
        self.engine = engine
        self.faults = faults
        self.address = ""
        self.page_size = 50
        self.preview = True
        """Does the workspace take part in the preview of snapshots?"""
        self.calls: list[str] = []
        """Method and path of every request, with names and ids left out."""
        self.forks: list[dict[str, Any]] = []
        self.inside = Inside(engine, faults, self._refused)
        self._key = key
        self._workspace = workspace
        self._snapshots: dict[str, dict[str, Any]] = {}
        guarded = self._guarded
        self.app = Starlette(
            routes=[
                Route("/v0/sandboxes", guarded("create", self.create), methods=["POST"]),
                Route("/v0/sandboxes", guarded("list", self.list), methods=["GET"]),
                Route("/v0/sandboxes/{id}", guarded("get", self.get), methods=["GET"]),
                Route("/v0/sandboxes/{id}", guarded("write", self.update), methods=["PUT"]),
                Route("/v0/sandboxes/{id}", guarded("terminate", self.delete), methods=["DELETE"]),
                Route("/v0/sandboxes/{id}/snapshots", guarded("snapshot", self.snapshot), methods=["POST"]),
                Route("/v0/sandboxes/{id}/snapshots", guarded("list", self.list_snapshots), methods=["GET"]),
                Route("/v0/snapshots/{snapshot}", guarded("get", self.get_snapshot), methods=["GET"]),
                Route("/v0/snapshots/{snapshot}", guarded("delete", self.drop_snapshot), methods=["DELETE"]),
                Route("/v0/snapshots/{snapshot}/fork", guarded("restore", self.fork), methods=["POST"]),
                *self.inside.routes(),
            ]
        )

    def _refused(self, request: Request) -> Response | None:
        route = request.scope["route"].path
        self.calls.append(f"{request.method} {route}")
        sent = (request.headers.get("x-blaxel-authorization"), request.headers.get("x-blaxel-workspace"))
        if sent != (f"Bearer {self._key}", self._workspace):
            return platform_error(401, "AUTHENTICATION_FAILED", "the key is not one of this workspace")
        return None

    def _guarded(self, operation: Operation, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except NoSuchBox as error:
                return _error(404, f"{error} not found")

        async def guarded(request: Request) -> Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            return await disturbed(self.faults, operation, request, lambda: answer(request), _error)

        return guarded

    # Sandboxes ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = await request.json()
        name = body["metadata"]["name"]
        if self.faults.no_capacity:
            return _action_error(503, "SERVICE_UNAVAILABLE", "no machine is free")
        if not NAME.fullmatch(name) or len(name) > 49:
            return _action_error(400, "VALIDATION_ERROR", "the name is none")
        known = self.engine.boxes.get(name)
        if known is not None and known.alive:
            if request.query_params.get("createIfNotExist") != "true":
                return _action_error(409, "SANDBOX_ALREADY_EXISTS", "a sandbox of this name exists")
            return JSONResponse(self._shown(known))
        return JSONResponse(self._shown(self._make(name, body)))

    def _make(self, name: str, body: dict[str, Any], snapshot: str = "") -> Box:
        envs = {each["name"]: each["value"] for each in body["spec"]["runtime"].get("envs", [])}
        box = self.engine.create(id=name, env=envs, snapshot=snapshot, lifetime_s=_age_s(body))
        box.settings = body
        box.labels = body["metadata"].get("labels", {})
        return box

    def _shown(self, box: Box) -> dict[str, Any]:
        body: Any = box.settings
        looked = int(body.get("looked", 0))
        body["looked"] = looked + 1
        status = "TERMINATED" if not box.alive else "DEPLOYED" if looked else "DEPLOYING"
        return {
            "metadata": {
                **body["metadata"],
                "labels": dict(box.labels),
                "url": f"{self.address}/sbx/{box.id}",
                "workspace": self._workspace,
                "createdAt": datetime.fromtimestamp(box.created_at, UTC).isoformat().replace("+00:00", "Z"),
            },
            "spec": {"region": "us-pdx-1", **body["spec"]},
            "status": status,
            "state": "STANDBY" if box.state == "standby" else "RUNNING",
            "nodeGeneration": "mk3.1",
        }

    def _known(self, request: Request) -> Box:
        """Also one that has ended: its record is kept for a while."""
        name = request.path_params["id"]
        with_record = self.engine.boxes.get(name)
        if with_record is None:
            raise NoSuchBox(name)
        return with_record

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._known(request)))

    async def list(self, request: Request) -> Response:
        start = int(request.query_params.get("cursor") or 0)
        end = start + min(int(request.query_params.get("limit", 50)), self.page_size)
        boxes = list(self.engine.boxes.values())
        shown = [self._shown(box) for box in boxes[start:end]]
        if request.headers.get("blaxel-version", "") < "2026-04-28":
            return JSONResponse(shown)
        more = end < len(boxes)
        meta = {"hasMore": more, "nextCursor": str(end) if more else "", "total": len(boxes)}
        return JSONResponse({"data": shown, "meta": meta})

    async def update(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        body = await request.json()
        box.labels = body["metadata"]["labels"]
        box.settings = {**box.settings, "metadata": body["metadata"], "spec": body["spec"]}
        age_s = _age_s(body)
        box.expires_at = box.created_at + age_s if age_s else None
        return JSONResponse(self._shown(box))

    async def delete(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        self.engine.terminate(box.id)
        return JSONResponse(self._shown(box))

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def snapshot(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        if not self.preview:
            return _error(403, "snapshots are in private preview")
        name = (await request.json())["name"]
        await self.faults.before_snapshot()
        taken = self.engine.take_snapshot(box.id)
        spec: Any = box.settings["spec"]
        self._snapshots[taken.id] = {
            "id": taken.id,
            "name": name,
            "status": "pending",
            "workspace": self._workspace,
            "createdAt": datetime.fromtimestamp(taken.created_at, UTC).isoformat().replace("+00:00", "Z"),
            "source": {"kind": "sandbox", "name": box.id},
            "spec": {
                "region": spec.get("region", "us-pdx-1"),
                "generation": "mk3.1",
                "memory": spec["runtime"]["memory"],
                "image": spec["runtime"]["image"],
            },
            "envs": spec["runtime"].get("envs", []),
        }
        return JSONResponse(self._snapshots[taken.id])

    async def list_snapshots(self, request: Request) -> Response:
        box = self.engine.box(request.path_params["id"])
        return JSONResponse([each for each in self._snapshots.values() if each["source"]["name"] == box.id])

    async def get_snapshot(self, request: Request) -> Response:
        taken = self.engine.snapshot(request.path_params["snapshot"])
        shown = dict(self._snapshots[taken.id])
        self._snapshots[taken.id]["status"] = "ready"  # when somebody looks the next time
        return JSONResponse(shown)

    async def drop_snapshot(self, request: Request) -> Response:
        gone = self.engine.delete_snapshot(request.path_params["snapshot"])
        return Response(status_code=204) if gone else _error(404, "no such snapshot")

    async def fork(self, request: Request) -> Response:
        taken = self.engine.snapshot(request.path_params["snapshot"])
        body = await request.json()
        name, held = body["targetName"], self._snapshots[taken.id]
        known = self.engine.boxes.get(name)
        if known is not None and known.alive:
            return _action_error(409, "SANDBOX_ALREADY_EXISTS", "the target exists")
        self.forks.append(body)
        inherited = {each["name"]: each for each in [*held["envs"], *body.get("envs", [])]}
        runtime = {"image": held["spec"]["image"], "memory": held["spec"]["memory"], "envs": list(inherited.values())}
        spec = {"region": held["spec"]["region"], "runtime": runtime, "lifecycle": body.get("lifecycle", {})}
        self._make(name, {"metadata": {"name": name}, "spec": spec}, taken.id)
        return JSONResponse({"name": name, "type": "sandbox", "snapshotId": taken.id})


def _age_s(body: dict[str, Any]) -> float | None:
    for policy in body["spec"].get("lifecycle", {}).get("expirationPolicies", []):
        if policy["type"] == "ttl-max-age":
            return float(policy["value"][:-1]) * UNITS_S[policy["value"][-1]]
    return None


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message, "code": status}, status)


def _action_error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message, "status_code": status, "step": "create"}, status)
