"""Sandboxes at Northflank. Source of calls and limits: the client 2.1.0 and northflank.com/docs, read 2026-11-22."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from northflank import AsyncApiClient

from sandboxes.contract import (
    SandboxInfo,
    SandboxRef,
    SnapshotRef,
    Spec,
)
from sandboxes.errors import InvalidSpec, NotFound, SandboxError
from sandboxes.providers.northflank.description import NAME, NorthflankDescription
from sandboxes.providers.northflank.errors import translated
from sandboxes.providers.northflank.machine import POLL_S, NorthflankMachine, info_of
from sandboxes.remote.sandbox import RemoteSandbox

IMAGE = "python:3.11-slim"
TAG = "rlmweb"


class NorthflankProvider(NorthflankDescription):
    """`project`: id of the project that holds the services, and with it the region; `api_token`: of a team or a person."""

    def __init__(
        self,
        *,
        api_token: str,
        project: str,
        base_url: str = "https://api.northflank.com",
        poll_s: float = POLL_S,
        python: Sequence[str] = ("python3",),
    ) -> None:
        self._client = AsyncApiClient(api_token=api_token, base_url=base_url)
        self._project = project
        self._poll_s = poll_s
        self._python = python
        self._plans: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"NorthflankProvider(project={self._project!r})"

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        return await self._make(spec, idempotency_key, "")

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    async def _make(self, spec: Spec, key: str, snapshot: str) -> RemoteSandbox:
        name = f"rlm-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
        machine = self._machine(name)
        if not await self._exists(machine):
            await self._block_network(spec)
            data = self._request(spec, name, await self._plan(spec), snapshot)
            try:
                with translated():
                    await self._client.create.service.deployment(project_id=self._project, data=data)
            except InvalidSpec as error:
                if error.status != 409:  # another worker was first: it is the same sandbox
                    raise
        await machine.wait_until_ready()
        await machine.prepare()
        return RemoteSandbox(machine, spec)

    async def _exists(self, machine: NorthflankMachine) -> bool:
        try:
            await machine.data()
        except NotFound:
            return False
        return True

    def _request(self, spec: Spec, name: str, plan: str, snapshot: str) -> Any:
        deployment: dict[str, Any] = {
            "instances": 1,
            "external": {"imagePath": spec.image or IMAGE},
            "docker": {"configType": "customCommand", "customCommand": "sleep infinity"},
            "storage": {"ephemeralStorage": {"storageSize": max(spec.disk_mb, 1024)}},
        }
        if snapshot:
            deployment["containerSnapshot"] = {"restoreFrom": snapshot}
        data: dict[str, Any] = {
            "name": name,
            "description": json.dumps({"rlmweb": dict(spec.labels)}),
            "billing": {"deploymentPlan": plan},
            "deployment": deployment,
            "runtimeEnvironment": dict(spec.env),
            "tags": [TAG, *([f"{TAG}-blocked"] if spec.network.mode == "blocked" else [])],
            "createOptions": {"expiryTime": int(spec.lifetime_s)},
        }
        if spec.gpu is not None:
            kind = spec.gpu.types[0].lower()
            data["billing"]["gpu"] = {"enabled": True, "configuration": {"gpuType": kind, "gpuCount": spec.gpu.count}}
        return data

    async def _plan(self, spec: Spec) -> str:
        """The cheapest plan with at least the memory and the cores that are asked for. Raises `InvalidSpec`."""
        if not self._plans:
            with translated():
                found: Any = (await self._client.list.plans()).data
                self._plans = list(found["plans"])
        fitting = [
            plan for plan in self._plans if plan["ramResource"] >= spec.memory_mb and plan["cpuResource"] >= spec.cpu
        ]
        if not fitting:
            raise InvalidSpec(
                f"no plan at Northflank has {spec.cpu:g} cores and {spec.memory_mb} MB; ask for less", provider=NAME
            )
        return str(min(fitting, key=lambda plan: plan["amountPerHour"])["id"])

    async def _block_network(self, spec: Spec) -> None:
        """A policy of the project that shuts off everything with our tag; made once."""
        if spec.network.mode != "blocked":
            return
        data: Any = {
            "name": f"{TAG}-blocked",
            "description": "Sandboxes of rlmweb reach nothing.",
            "spec": {
                "egress": {"denyAll": True, "allowTo": []},
                "restrictions": {"projects": {"list": [self._project]}, "tags": {"list": [f"{TAG}-blocked"]}},
            },
        }
        try:
            with translated():
                await self._client.create.network_policy(data=data)
        except InvalidSpec as error:
            if error.status != 409:  # it is there already
                raise

    def _machine(self, service: str) -> NorthflankMachine:
        return NorthflankMachine(self._client, self._project, service, self._poll_s, self._python)

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        machine = self._machine(self._named(ref, "id"))
        await machine.data()
        return RemoteSandbox(machine)

    def _named(self, ref: str, field: str) -> str:
        """Raises `NotFound` for a reference that is not of this project."""
        try:
            found = json.loads(ref)
            if found["provider"] == NAME and found["project"] == self._project and isinstance(found[field], str):
                return str(found[field])
        except (ValueError, KeyError, TypeError):
            pass
        raise NotFound("not a reference to a sandbox of this project at Northflank", provider=NAME)

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        found: list[SandboxInfo] = []
        with translated():
            services: Any = await self._client.list.services.all(project_id=self._project)
        data = services.data if hasattr(services, "data") else services
        for service in data["services"] if isinstance(data, Mapping) else data:
            if TAG in service.get("tags", ()):
                info = info_of(self._machine(service["id"]).ref, service)
                if labels.items() <= info.labels.items():
                    found.append(info)
        return found

    # Snapshots and money --------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        self._require(spec)
        id = self._named(snapshot, "snapshot")
        with translated():
            await self._client.get.container_snapshot(snapshot_id=id)
        made: list[RemoteSandbox | SandboxError] = []
        for number in range(count):
            try:
                made.append(await self._make(spec, f"{idempotency_key}-{number}", id))
            except SandboxError as error:
                made.append(error)
        return made

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        try:
            with translated():
                await self._client.delete.container_snapshot(snapshot_id=self._named(snapshot, "snapshot"))
        except NotFound:
            return

    async def ping(self) -> str:
        with translated():
            found: Any = (await self._client.get.project(project_id=self._project)).data
            return f"Northflank project {found['name']}"

    async def close(self) -> None:
        """The client opens a connection for each call."""
