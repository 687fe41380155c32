"""Sandboxes behind our own Worker, for Cloudflare's container API of 1.0: with snapshots, forks, labels and a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Problem, SandboxInfo, SandboxRef, SnapshotRef, Spec, Stability
from sandboxes.errors import InvalidSpec, NotFound, SandboxError, SnapshotExpired
from sandboxes.providers.cloudflare import options
from sandboxes.providers.cloudflare.client import WorkerClient
from sandboxes.providers.cloudflare.errors import malformed
from sandboxes.providers.cloudflare.worker_machine import NAME, WorkerMachine, info_of
from sandboxes.remote.sandbox import RemoteSandbox

MAX_IDLE_S = 6 * 3600
BETA = "container snapshots are a public beta since 2026-09-30"


class CloudflareWorkerProvider:
    """`url` and `api_key` (its `SANDBOX_API_KEY`) of the Worker in `worker/`; `instance_type` as in its wrangler config."""

    name = NAME

    def __init__(
        self, *, url: str, api_key: str, instance_type: str = "standard-2", python: Sequence[str] = ("python3",)
    ) -> None:
        if instance_type not in options.INSTANCE_TYPES:
            known = ", ".join(options.INSTANCE_TYPES)
            raise InvalidSpec(f"there is no instance_type {instance_type!r}; there are {known}", provider=NAME)
        self._client = WorkerClient(url, api_key, provider=NAME)
        self._instance_type = instance_type
        self._python = python

    def __repr__(self) -> str:
        return f"CloudflareWorkerProvider(url={self._client.url!r}, instance_type={self._instance_type!r})"

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, Stability.PREVIEW, BETA),
            "memory_snapshot": Capability(False),
            "snapshot_ttl": Capability(True, note="kept by our Worker; Cloudflare's own retention is not published"),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "idempotent_create": Capability(True, note="by the sandbox's id, which is made from the key"),
            "reattach": Capability(True, note="by the hub in the sandbox"),
            "stdin": Capability("pipe"),
            "list": Capability(True),
            "labels": Capability(True),
            "pause": Capability(False),
            "extend": Capability(True),
            "port_url": Capability(False),
            "net_block": Capability(True, note="enableInternet"),
            "net_allow_hosts": Capability(False),
            "net_allow_cidrs": Capability(False),
            "gpus": Capability(()),
            "regions": Capability(()),
            "max_idle_s": Capability(MAX_IDLE_S, note="setInactivityTimeout; files are lost"),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = list(options.size_problems(spec, self._instance_type))
        if spec.image:
            problems.append(Problem("image", "the image is fixed in the Worker's wrangler config; leave it empty"))
        if spec.network.mode == "allowlist":
            problems.append(Problem("network", "our Worker has no allow list; ask for blocked or open"))
        if not 0 < spec.idle_s <= MAX_IDLE_S:
            problems.append(Problem("idle_s", f"idle_s is above 0 and at most {MAX_IDLE_S}"))
        if spec.lifetime_s <= 0:
            problems.append(Problem("lifetime_s", "lifetime_s is above 0"))
        return problems

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        return await self._begin(spec, idempotency_key, "")

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    async def _begin(self, spec: Spec, key: str, snapshot: str) -> RemoteSandbox:
        machine = self._machine(options.id_of(key))
        request = {
            "env": dict(spec.env),
            "labels": options.labels(spec),
            "lifetime_s": spec.lifetime_s,
            "idle_s": spec.idle_s,
            "internet": spec.network.mode == "open",
            "snapshot": snapshot,
        }
        info_of(machine.ref, await self._client.call_mapping("PUT", machine.path, json=request), self._instance_type)
        return RemoteSandbox(machine, spec)

    def _machine(self, id: str) -> WorkerMachine:
        return WorkerMachine(self._client, id, python=self._python, tier=self._instance_type)

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        machine = self._machine(self._named(ref, "id"))
        await machine.info()
        return RemoteSandbox(machine)

    def _named(self, ref: str, field: str) -> str:
        """Raises `NotFound` for a reference that is not of this Worker."""
        try:
            named = json.loads(ref)
            if (named["provider"], named["url"]) != (NAME, self._client.url):
                raise KeyError("url")
            found = named[field]
            if not isinstance(found, str) or not found.isascii() or not found.replace("-", "").isalnum():
                raise ValueError(field)
        except (ValueError, KeyError, TypeError) as error:
            raise NotFound(f"this is no reference to this Worker: {ref[:100]}", provider=NAME) from error
        return found

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        said = (await self._client.call_mapping("GET", "/v1/sandboxes")).get("sandboxes")
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
            raise malformed("a list of sandboxes", NAME)
        infos = [info_of(self._machine(str(each.get("id"))).ref, each, self._instance_type) for each in said]
        return [info for info in infos if labels.items() <= info.labels.items()]

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        self._require(spec)
        id = self._named(snapshot, "snapshot")
        made = await asyncio.gather(
            *(self._begin(spec, f"{idempotency_key}-{number}", id) for number in range(count)), return_exceptions=True
        )
        for each in made:
            if isinstance(each, BaseException) and not isinstance(each, SandboxError):
                raise each
            if isinstance(each, NotFound | SnapshotExpired):
                raise each  # of the snapshot, which is the same for all
        return [each for each in made if isinstance(each, RemoteSandbox | SandboxError)]

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        try:
            await self._client.call("DELETE", f"/v1/snapshot/{self._named(snapshot, 'snapshot')}")
        except NotFound:
            return

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate(self._instance_type)

    async def ping(self) -> str:
        await self._client.call_mapping("GET", "/v1/ping")
        return f"our Worker at {self._client.url}"

    async def close(self) -> None:
        await self._client.close()
