"""Sandboxes at Blaxel. Source of calls and limits: the SDK 0.4.24, blaxel-ai/sandbox and docs.blaxel.ai, read 2026-11-23."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

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
from sandboxes.errors import InvalidSpec, NotFound, SandboxError, Unsupported
from sandboxes.providers.blaxel import options, snapshots
from sandboxes.providers.blaxel.api import POLL_S
from sandboxes.providers.blaxel.client import BlaxelClient, mapping
from sandboxes.providers.blaxel.errors import NAME
from sandboxes.providers.blaxel.machine import BlaxelMachine
from sandboxes.remote.sandbox import RemoteSandbox

REGIONS = ("us-pdx-1", "us-was-1", "eu-lon-1", "eu-fra-1")
USD_PER_GB_S = Decimal("0.0000115")
RATES_AS_OF, RATES_SOURCE = "2026-07-01", "a third party's comparison of Blaxel's prices"
MEMORY_MB = (128, 262_144)
"""Bounds of good sense: Blaxel publishes none, and refuses by the tier of the account."""
MAX_CPU = MEMORY_MB[1] / options.MB_PER_CORE
PAGE = 50


class BlaxelProvider:
    """`api_key` of a team or a person, `workspace` that it belongs to. `snapshots`: the workspace takes part in the private
    preview of snapshots, and its sandboxes are of the generation Mark 3.1, which has no firewall yet."""

    name = NAME

    def __init__(
        self,
        *,
        api_key: str,
        workspace: str,
        snapshots: bool = False,
        base_url: str = "https://api.blaxel.ai/v0",
        poll_s: float = POLL_S,
        python: Sequence[str] = ("python3",),
    ) -> None:
        self._client = BlaxelClient(api_key, workspace, base_url, pause_s=min(poll_s, 0.2))
        self._snapshots = snapshots
        self._poll_s = poll_s
        self._python = python

    def __repr__(self) -> str:
        return f"BlaxelProvider(workspace={self._client.workspace!r}, snapshots={self._snapshots})"

    def capabilities(self) -> Mapping[str, Capability]:
        note = "private preview on Mark 3.1; files, memory and processes; only in its region and generation"
        taken = Capability(self._snapshots, Stability.PREVIEW, note)
        return {
            "fs_snapshot": taken,
            "memory_snapshot": taken,
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "idempotent_create": Capability(True, note="by the sandbox's name"),
            "reattach": Capability(True, note="by the hub in the sandbox"),
            "stdin": Capability("pipe", note="images before autumn 2026: a named pipe written by commands"),
            "list": Capability(True),
            "labels": Capability(True),
            "pause": Capability(True, note="it falls asleep some 15 s after its last connection, and wakes when asked"),
            "pause_memory": Capability(True),
            "extend": Capability(True),
            "port_url": Capability(False),
            "net_block": Capability(not self._snapshots, Stability.PREVIEW, "the rule set `proxy`; not on Mark 3.1"),
            "net_allow_hosts": Capability(not self._snapshots, Stability.PREVIEW, "domains; not on Mark 3.1"),
            "net_allow_cidrs": Capability(False),
            "gpus": Capability(()),
            "regions": Capability(REGIONS, note="which of them an account may use is up to Blaxel"),
            "max_lifetime_s": Capability(None, note="no limit on tiers 2 and above; lower tiers end sandboxes earlier"),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = []

        def refuse(field: str, message: str) -> None:
            problems.append(Problem(field, message))

        if not MEMORY_MB[0] <= spec.memory_mb <= MEMORY_MB[1]:
            refuse("memory_mb", f"memory_mb is between {MEMORY_MB[0]} and {MEMORY_MB[1]} at Blaxel")
        if not 0 < spec.cpu <= MAX_CPU:
            refuse("cpu", f"cpu is above 0 and at most {MAX_CPU:g} cores at Blaxel, and takes 2048 MB of memory each")
        if spec.gpu is not None:
            refuse("gpu", "Blaxel has no GPUs; leave the field empty or choose another provider")
        if spec.region and spec.region not in REGIONS:
            refuse("region", f"Blaxel has no region {spec.region!r}; it has {', '.join(REGIONS)}")
        if spec.lifetime_s < options.MIN_LIFETIME_S:
            refuse("lifetime_s", f"lifetime_s is at least {options.MIN_LIFETIME_S} at Blaxel")
        if spec.idle_s < options.MIN_IDLE_S:
            refuse("idle_s", f"idle_s is at least {options.MIN_IDLE_S} at Blaxel")
        if spec.network.mode != "open" and self._snapshots:
            refuse(
                "network",
                "Blaxel has no firewall on Mark 3.1, which snapshots need; ask for an open network, or set up "
                "Blaxel without snapshots",
            )
        if spec.network.cidrs:
            refuse("network", "Blaxel's allow list takes domains, not address ranges")
        return problems

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        """Blaxel returns the sandbox of that name when there is one, and replaces one that has ended or failed."""
        self._require(spec)
        request = options.sandbox_request(spec, options.name_of(idempotency_key))
        answer = await self._client.call(
            "POST", self._client.url("/sandboxes"), again=True, params={"createIfNotExist": "true"}, json=request
        )
        document = mapping(answer)
        machine = self._machine(document, fresh=True)
        await machine.wait_until_ready(document)
        return RemoteSandbox(machine, spec)

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    def _machine(self, document: Mapping[str, Any], *, fresh: bool = False) -> BlaxelMachine:
        return BlaxelMachine(
            self._client,
            document,
            python=self._python,
            poll_s=self._poll_s,
            can_snapshot=self._snapshots,
            fresh=fresh,
        )

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        return RemoteSandbox(self._machine(await self._document(self._named(ref, "id")["id"])))

    async def _document(self, name: str) -> dict[str, Any]:
        found = mapping(
            await self._client.call("GET", self._client.url(f"/sandboxes/{quote(name, safe='')}"), again=True)
        )
        if options.gone(found):
            raise NotFound(f"sandbox {name} has ended", provider=NAME)
        return found

    def _named(self, ref: str, field: str) -> dict[str, str]:
        """Raises `NotFound` for a reference that is not of this workspace."""
        try:
            found = json.loads(ref)
            if (found["provider"], found["workspace"]) != (NAME, self._client.workspace):
                raise KeyError("workspace")
            return {**found, field: str(found[field])}
        except (ValueError, KeyError, TypeError) as error:
            raise NotFound(f"this is no reference into the workspace: {ref[:100]}", provider=NAME) from error

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        found: list[SandboxInfo] = []
        cursor = ""
        while True:
            page = mapping(
                await self._client.call(
                    "GET",
                    self._client.url("/sandboxes"),
                    again=True,
                    params={"limit": PAGE, **({"cursor": cursor} if cursor else {})},
                )
            )
            for document in page.get("data") or []:
                name = str(mapping(document.get("metadata")).get("name"))
                ref = SandboxRef(json.dumps({"provider": NAME, "workspace": self._client.workspace, "id": name}))
                info = options.info_of(ref, document)
                if not options.gone(document) and labels.items() <= info.labels.items():
                    found.append(info)
            meta = page.get("meta") or {}
            cursor = str(meta.get("nextCursor") or "")
            if not meta.get("hasMore") or not cursor:
                return found

    # Snapshots and money --------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        if not self._snapshots:
            raise Unsupported("fs_snapshot", provider=NAME)
        self._require(spec)
        named = self._named(snapshot, "snapshot")
        await snapshots.check(self._client, named["snapshot"], spec)
        made = await asyncio.gather(
            *(self._fork(named, spec, f"{idempotency_key}-{number}") for number in range(count)), return_exceptions=True
        )
        for each in made:
            if isinstance(each, BaseException) and not isinstance(each, SandboxError):
                raise each
        return [each for each in made if isinstance(each, RemoteSandbox | SandboxError)]

    async def _fork(self, named: Mapping[str, str], spec: Spec, key: str) -> RemoteSandbox:
        """A fork of that name that is there was made by an earlier call with the same key."""
        name = options.name_of(key)
        try:
            await self._client.call(
                "POST",
                f"{snapshots.url_of(self._client, named['snapshot'])}/fork",
                again=True,
                json=options.fork_request(spec, name),
            )
        except InvalidSpec as error:
            if error.status != 409:
                raise
        document = await self._document(name)
        machine = self._machine(document)
        await machine.wait_until_ready(document)
        await machine.label(options.labels(spec))
        if named.get("kind") != "memory":
            await machine.forget_runner()
        return RemoteSandbox(machine, spec)

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        try:
            url = snapshots.url_of(self._client, self._named(snapshot, "snapshot")["snapshot"])
            await self._client.call("DELETE", url, again=True, expect_json=False)
        except NotFound:
            return

    def estimate(self, spec: Spec) -> Estimate:
        usd = USD_PER_GB_S * 3600 * Decimal(options.memory_mb(spec)) / 1024
        return Estimate(
            usd.quantize(Decimal("0.0001")),
            RATES_AS_OF,
            RATES_SOURCE,
            "while awake, by memory (2048 MB a core); asleep only storage is billed, whose price is not known here",
        )

    async def ping(self) -> str:
        answer = mapping(
            await self._client.call("GET", self._client.url("/sandboxes"), again=True, params={"limit": 1})
        )
        total = (answer.get("meta") or {}).get("total")
        return f"Blaxel workspace {self._client.workspace}" + (f", {total} sandboxes" if total is not None else "")

    async def close(self) -> None:
        await self._client.close()
