"""Sandboxes at Northflank. Source of calls and limits: the client 2.1.0 and northflank.com/docs, read 2026-11-22."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from northflank import AsyncApiClient

from sandboxes.contract import (
    Capability,
    Estimate,
    Problem,
    SandboxInfo,
    SandboxRef,
    SnapshotRef,
    Spec,
    Stability,
)
from sandboxes.errors import InvalidSpec, NotFound, SandboxError
from sandboxes.providers.northflank.errors import NAME, translated
from sandboxes.providers.northflank.machine import POLL_S, NorthflankMachine, info_of
from sandboxes.remote.sandbox import RemoteSandbox

IMAGE = "python:3.11-slim"
TAG = "rlmweb"
GPUS = ("L4", "A10", "A100", "A100-80GB", "L40S", "H100", "H200", "B200")
"""Names that have been seen in `list.regions`; which of them a region has, the vendor says when asked."""
USD_PER_VCPU_H, USD_PER_GB_H = Decimal("0.01667"), Decimal("0.00833")
RATES_AS_OF, RATES_SOURCE = "2026-06-24", "northflank.com/blog"
MEMORY_MB = (256, 262_144)
CPU = (0.1, 64.0)


class NorthflankProvider:
    """`project`: id of the project that holds the services, and with it the region; `api_token`: of a team or a person."""

    name = NAME

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

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, note="on Kata plans only, asynchronous"),
            "memory_snapshot": Capability(False),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "idempotent_create": Capability(True, note="by the service's name"),
            "reattach": Capability(True, note="by the hub in the sandbox; the vendor's session ends with its socket"),
            "stdin": Capability("pipe"),
            "list": Capability(True),
            "labels": Capability(True, note="in the service's description"),
            "pause": Capability(True, note="files outside volumes are kept by a snapshot only"),
            "extend": Capability(False),
            "port_url": Capability(False),
            "net_block": Capability(True, note="a network policy of the project, by tag"),
            "net_allow_hosts": Capability(False),
            "gpus": Capability(GPUS, Stability.GA, "which of them a region has is read when a sandbox is made"),
            "max_lifetime_s": Capability(None, note="no limit is published"),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = []
        if not MEMORY_MB[0] <= spec.memory_mb <= MEMORY_MB[1]:
            problems.append(
                Problem("memory_mb", f"memory_mb is between {MEMORY_MB[0]} and {MEMORY_MB[1]} at Northflank")
            )
        if not CPU[0] <= spec.cpu <= CPU[1]:
            problems.append(Problem("cpu", f"cpu is between {CPU[0]} and {CPU[1]:g} cores at Northflank"))
        if spec.gpu is not None:
            unknown = [name for name in spec.gpu.types if name not in GPUS]
            if unknown:
                problems.append(Problem("gpu", f"Northflank has no GPU {', '.join(unknown)}; it has {', '.join(GPUS)}"))
        if spec.network.mode == "allowlist":
            problems.append(Problem("network", "an allow list is not passed on to Northflank; use blocked or open"))
        if spec.region:
            problems.append(Problem("region", "the region at Northflank is that of the project; name another project"))
        return problems

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

    def estimate(self, spec: Spec) -> Estimate:
        if spec.gpu is not None:
            return Estimate(None, RATES_AS_OF, RATES_SOURCE, "prices of GPUs are in list.regions of your account")
        usd = USD_PER_VCPU_H * Decimal(str(spec.cpu)) + USD_PER_GB_H * Decimal(spec.memory_mb) / 1024
        return Estimate(
            usd.quantize(Decimal("0.0001")), RATES_AS_OF, RATES_SOURCE, "a plan with at least this is billed"
        )

    async def ping(self) -> str:
        with translated():
            found: Any = (await self._client.get.project(project_id=self._project)).data
            return f"Northflank project {found['name']}"

    async def close(self) -> None:
        """The client opens a connection for each call."""
