"""Sandboxes at Daytona. Source of calls and limits: the client 0.226.1 and daytona.io/docs, read 2026-11-22."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial

from daytona import (
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaConflictError,
    Resources,
)

from sandboxes.contract import (
    SandboxInfo,
    SandboxRef,
    SandboxState,
    SnapshotRef,
    Spec,
)
from sandboxes.errors import (
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    SandboxError,
    SnapshotIncompatible,
)
from sandboxes.providers.daytona import options
from sandboxes.providers.daytona.client import API_URL, Client
from sandboxes.providers.daytona.description import NAME, DaytonaDescription
from sandboxes.providers.daytona.errors import translated
from sandboxes.providers.daytona.machine import CALL_TIMEOUT_S, STATE_TIMEOUT_S, DaytonaMachine, info_of, state_of
from sandboxes.providers.daytona.options import IMAGE, LABEL, VM, sandbox_class
from sandboxes.providers.daytona.snapshots import POLL_S, Snapshots
from sandboxes.remote.references import parts_of
from sandboxes.remote.sandbox import RemoteSandbox

CREATE_TIMEOUT_S = 300.0
"""The first sandbox of an image waits until Daytona has built a snapshot of it."""
PAGE_SIZE = 100
PERMISSIONS = ("write:sandboxes", "delete:sandboxes", "write:snapshots", "delete:snapshots")
Params = CreateSandboxFromImageParams | CreateSandboxFromSnapshotParams
_named = partial(parts_of, provider=NAME, title="Daytona")


class DaytonaProvider(DaytonaDescription):
    """`target`: the region of sandboxes whose spec names none. It has no default: the client would look for one in the
    environment of the process, and a wrong region is no small thing. `vm_snapshots`: what virtual machines start from."""

    def __init__(
        self,
        *,
        api_key: str,
        target: str,
        api_url: str = API_URL,
        vm_snapshots: Sequence[str] = ("daytona-vm-small", "daytona-vm-medium", "daytona-vm-large"),
        poll_s: float = POLL_S,
        python: Sequence[str] = ("python3",),
    ) -> None:
        for name, value in (("api_key", api_key), ("target", target), ("api_url", api_url)):
            if not value:
                raise InvalidSpec(f"Daytona needs {name}", provider=NAME)
        self._client = Client(api_key, api_url, target)
        self._snapshots = Snapshots(self._client, poll_s)
        self._vm_snapshots = tuple(vm_snapshots)
        self._poll_s = poll_s
        self._python = python

    def __repr__(self) -> str:
        return f"DaytonaProvider({self._client!r})"

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        name = _name(idempotency_key)
        params: Params
        if sandbox_class(spec) == VM:
            common = options.common_options(spec, name, ephemeral=False, vm=True)
            params = CreateSandboxFromSnapshotParams(snapshot=await self._vm_snapshot(spec), **common)
        else:
            common = options.common_options(spec, name, ephemeral=spec.gpu is not None, vm=False)
            resources = Resources(**options.resources(spec))
            params = CreateSandboxFromImageParams(image=spec.image or IMAGE, resources=resources, **common)
        return await self._make(params, spec)

    async def _vm_snapshot(self, spec: Spec) -> str:
        """The smallest of the VM snapshots that is large enough: a VM has the size of what it starts from."""
        found = [await self._snapshots.find(name) for name in self._vm_snapshots]
        sizes = options.resources(spec)
        fitting = [each for each in found if each.cpu >= sizes["cpu"] and each.mem >= sizes["memory"]]
        if not fitting:
            raise InvalidSpec(
                f"no VM snapshot of {', '.join(self._vm_snapshots)} has {sizes['cpu']} cores and {sizes['memory']} GiB",
                provider=NAME,
            )
        return min(fitting, key=lambda each: (each.mem, each.cpu)).name

    async def _make(self, params: Params, spec: Spec) -> RemoteSandbox:
        """The name is the key: the vendor refuses a second one, which is then the one that was asked for."""
        with translated():
            try:
                sandbox = await self._client.sdk.create(params, timeout=CREATE_TIMEOUT_S)
            except DaytonaConflictError:
                sandbox = await self._existing(str(params.name))
        machine = self._machine(sandbox)
        await machine.prepare()
        return RemoteSandbox(machine, spec)

    async def _existing(self, name: str) -> AsyncSandbox:
        sandbox = await self._client.sdk.get(name, request_timeout=CALL_TIMEOUT_S)
        state = state_of(sandbox)
        if sandbox.state in ("error", "build_failed"):
            why = sandbox.error_reason or sandbox.state
            await self._machine(sandbox).terminate()  # or the key would be of no use for ever
            raise ProviderUnavailable(f"the sandbox did not start: {why}", provider=NAME)
        if state is SandboxState.TERMINATED:
            raise ProviderUnavailable("the sandbox of this key is being deleted", provider=NAME)
        if state in (SandboxState.STOPPED, SandboxState.PAUSED):
            await sandbox.start(timeout=STATE_TIMEOUT_S)
        elif state is SandboxState.STARTING:
            await sandbox.wait_for_sandbox_start(timeout=CREATE_TIMEOUT_S)
        return sandbox

    def _machine(self, sandbox: AsyncSandbox) -> DaytonaMachine:
        return DaytonaMachine(sandbox, self._snapshots, self._poll_s, self._python)

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        with translated():
            sandbox = await self._client.sdk.get(_named(ref, "id")["id"], request_timeout=CALL_TIMEOUT_S)
        if state_of(sandbox) is SandboxState.TERMINATED:
            raise NotFound(f"sandbox {sandbox.id} has ended", provider=NAME)
        return RemoteSandbox(self._machine(sandbox))

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        wanted = json.dumps({**labels, LABEL: "1"})
        found: list[SandboxInfo] = []
        cursor: str | None = None
        with translated():
            while True:
                page = await self._client.sandboxes.list_sandboxes(
                    labels=wanted, cursor=cursor, limit=PAGE_SIZE, _request_timeout=CALL_TIMEOUT_S
                )
                found += [info_of(item) for item in page.items]
                cursor = page.next_cursor
                if not cursor:
                    return [info for info in found if info.state is not SandboxState.TERMINATED]

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        """Size, class and GPU are those of the snapshot. Raises `SnapshotIncompatible` when the spec wants more."""
        self._require(spec)
        found = await self._snapshots.usable(_named(snapshot, "snapshot")["snapshot"], spec.region)
        vm = found.sandbox_class == VM
        if sandbox_class(spec) == VM and not vm:
            raise SnapshotIncompatible("the snapshot is of a container and the spec wants a VM", provider=NAME)
        if spec.gpu is not None and found.gpu < spec.gpu.count:
            raise SnapshotIncompatible(
                f"the snapshot has {found.gpu:g} GPUs, {spec.gpu.count} are asked", provider=NAME
            )

        async def make(number: int) -> RemoteSandbox | SandboxError:
            name = _name(f"{idempotency_key}-{number}")
            common = options.common_options(spec, name, ephemeral=found.gpu > 0, vm=vm)
            try:
                return await self._make(CreateSandboxFromSnapshotParams(snapshot=found.name, **common), spec)
            except SandboxError as error:
                return error

        return await asyncio.gather(*(make(number) for number in range(count)))

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        await self._snapshots.delete(_named(snapshot, "snapshot")["snapshot"])

    # The key --------------------------------------------------------------------------------------------------------

    async def ping(self) -> str:
        """Also says what the key may not do of what is needed."""
        with translated():
            key = await self._client.keys.get_current_api_key(_request_timeout=CALL_TIMEOUT_S)
            missing = [name for name in PERMISSIONS if name not in key.permissions]
        lacks = f", without {', '.join(missing)}" if missing else ""
        return f"Daytona key {key.name}{lacks}"

    async def close(self) -> None:
        await self._client.close()


def _name(key: str) -> str:
    return f"rlm-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
