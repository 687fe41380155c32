"""Sandboxes behind Cloudflare's own bridge. Source: the npm package `@cloudflare/sandbox` 0.12.10, read 2026-11-23."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Problem, SandboxInfo, SandboxRef, SnapshotRef, Spec, Stability
from sandboxes.errors import AlreadyTerminated, InvalidSpec, NotFound, SandboxError, Unsupported
from sandboxes.providers.cloudflare import options
from sandboxes.providers.cloudflare.client import WorkerClient
from sandboxes.providers.cloudflare.errors import NAME
from sandboxes.providers.cloudflare.machine import CloudflareMachine
from sandboxes.remote.sandbox import RemoteSandbox

ID = re.compile(r"[a-z2-7]{1,128}")


class CloudflareProvider:
    """`url` and `api_key` (its `SANDBOX_API_KEY`) of a Worker that the team has deployed with the bridge.

    What its wrangler config and its class fix for all sandboxes is said here: `instance_type`, and `internet` (its
    `enableInternet`).
    """

    name = NAME

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        instance_type: str = "standard-2",
        internet: bool = True,
        python: Sequence[str] = ("python3",),
    ) -> None:
        if instance_type not in options.INSTANCE_TYPES:
            known = ", ".join(options.INSTANCE_TYPES)
            raise InvalidSpec(f"there is no instance_type {instance_type!r}; there are {known}", provider=NAME)
        self._client = WorkerClient(url, api_key)
        self._instance_type = instance_type
        self._internet = internet
        self._python = python

    def __repr__(self) -> str:
        return f"CloudflareProvider(url={self._client.url!r}, instance_type={self._instance_type!r})"

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(False, note="the bridge has none; portable snapshots work"),
            "memory_snapshot": Capability(False),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "idempotent_create": Capability(True, note="by the sandbox's id, which is made from the key"),
            "reattach": Capability(True, note="by the hub in the sandbox"),
            "stdin": Capability("pty", note="a terminal in raw mode"),
            "list": Capability(False, note="the bridge has no list: our own table knows what there is"),
            "labels": Capability(True, note="written down in the sandbox"),
            "pause": Capability(False),
            "extend": Capability(True, note="the lifetime is ours, and is held to by whoever looks"),
            "port_url": Capability(True, Stability.PREVIEW, "a tunnel; open to everybody who has the address"),
            "net_block": Capability(not self._internet, note="for all sandboxes of a Worker, or for none"),
            "net_allow_hosts": Capability(False),
            "net_allow_cidrs": Capability(False),
            "gpus": Capability(()),
            "regions": Capability(()),
            "max_file_bytes": Capability(None, note="in parts of 16 MiB; the bridge takes 32"),
            "max_idle_s": Capability(
                600, note="sleepAfter of the Worker's class, 10 minutes unless set; files are lost"
            ),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = list(options.size_problems(spec, self._instance_type))
        if spec.image:
            problems.append(Problem("image", "the image is fixed in the Worker's wrangler config; leave it empty"))
        reach = "open" if self._internet else "blocked"
        if spec.network.mode != reach:
            message = f"the network is {reach} for all sandboxes of this Worker; ask for that, or deploy another"
            problems.append(Problem("network", message))
        if spec.lifetime_s <= 0:
            problems.append(Problem("lifetime_s", "lifetime_s is above 0"))
        return problems

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)
        machine = self._machine(options.id_of(idempotency_key))
        await machine.begin(spec)
        return RemoteSandbox(machine, spec)

    def _machine(self, id: str) -> CloudflareMachine:
        return CloudflareMachine(self._client, id, python=self._python, tier=self._instance_type)

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        try:
            named = json.loads(ref)
            if (named["provider"], named["url"]) != (NAME, self._client.url) or not ID.fullmatch(named["id"]):
                raise KeyError("url")
        except (ValueError, KeyError, TypeError) as error:
            raise NotFound(f"this is no reference to this Worker: {ref[:100]}", provider=NAME) from error
        machine = self._machine(named["id"])
        await machine.running()
        try:
            await machine.info()
        except AlreadyTerminated as error:
            raise NotFound("the sandbox has ended", provider=NAME) from error
        return RemoteSandbox(machine)

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        raise Unsupported("list", provider=NAME)

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        raise Unsupported("fs_snapshot", provider=NAME)

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """There are none."""

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate(self._instance_type)

    async def ping(self) -> str:
        said = await self._client.call_mapping("GET", "/v1/pool/stats")
        return f"the bridge at {self._client.url}, {said.get('assigned')} containers in use"

    async def close(self) -> None:
        await self._client.close()
