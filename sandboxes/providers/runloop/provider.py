"""Devboxes at Runloop. Source of calls and limits: the client 3.0.0 and docs.runloop.ai, read 2026-11-23."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from runloop_api_client.types import DevboxView

from sandboxes.contract import (
    SandboxInfo,
    SandboxRef,
    SnapshotRef,
    Spec,
)
from sandboxes.errors import CapacityUnavailable, InvalidSpec, NotFound, ProviderUnavailable, SandboxError
from sandboxes.providers.runloop import blueprints, options
from sandboxes.providers.runloop.client import API_URL, Client
from sandboxes.providers.runloop.description import NAME, RunloopDescription
from sandboxes.providers.runloop.devboxes import ENDED, LIVE, Devboxes, info_of, why
from sandboxes.providers.runloop.errors import translated
from sandboxes.providers.runloop.machine import TUNNEL_DOMAIN, RunloopMachine
from sandboxes.providers.runloop.options import ON_IDLE
from sandboxes.providers.runloop.policies import Policies
from sandboxes.providers.runloop.snapshots import Snapshots
from sandboxes.remote.references import parts_of
from sandboxes.remote.sandbox import RemoteSandbox

PAGE_SIZE = 500
MAX_USES_OF_A_KEY = 5
BOOTING = ("scheduled", "queued", "provisioning", "initializing")
_named = partial(parts_of, provider=NAME, title="Runloop")


class RunloopProvider(RunloopDescription):
    """`blueprint`: name or id of what devboxes of sessions without an image are made of; "" is Runloop's own image.

    `on_idle`: "suspend" or "shutdown" after the spec's `idle_s`, in place of its `lifetime_s`; the vendor takes one of
    both. `public_ports`: may the world reach ports of devboxes? `poll_s`: between two looks at what is being made.
    """

    def __init__(
        self,
        *,
        api_key: str,
        blueprint: str = "",
        on_idle: str = "",
        public_ports: bool = False,
        api_url: str = API_URL,
        tunnel_domain: str = TUNNEL_DOMAIN,
        workspace: str = "/home/user/workspace",
        python: Sequence[str] = ("python3",),
        poll_s: float = 0.5,
    ) -> None:
        for name, value in (("api_key", api_key), ("api_url", api_url)):
            if not value:  # the client would look for it in the environment, where that of another team may be
                raise InvalidSpec(f"Runloop needs {name}", provider=NAME)
        if on_idle not in ON_IDLE:
            raise InvalidSpec(f"on_idle is one of {', '.join(map(repr, ON_IDLE))}, not {on_idle!r}", provider=NAME)
        super().__init__(on_idle=on_idle, public_ports=public_ports)
        self._client = Client(api_key, api_url)
        self._devboxes = Devboxes(self._client, poll_s)
        self._snapshots = Snapshots(self._client, poll_s)
        self._policies = Policies(self._client)
        self._blueprint = blueprint
        self._poll_s = poll_s
        self._of_machines: dict[str, Any] = {
            "workspace": workspace,
            "python": python,
            "on_idle": on_idle,
            "public_ports": public_ports,
            "tunnel_domain": tunnel_domain,
        }

    def __repr__(self) -> str:
        return f"RunloopProvider({self._client!r})"

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        source = options.source_of(spec.image or self._blueprint)
        try:
            return await self._make(spec, idempotency_key, source)
        except NotFound as error:
            if not source:
                raise
            raise InvalidSpec(f"there is no such blueprint: {error}", provider=NAME, status=error.status) from error

    async def _make(self, spec: Spec, key: str, source: Mapping[str, Any]) -> RemoteSandbox:
        """A key leads to the devbox that it made, also to one that has ended: then to the next one of the same key."""
        policy_id = await self._policies.id_of(spec.network)
        for number in range(MAX_USES_OF_A_KEY):
            arguments = options.create_arguments(spec, options.hashed(key, number), policy_id, self._on_idle)
            try:
                with translated(placing=True):
                    made = await self._client.api.devboxes.create(**arguments, **source)
                    # What a key leads to may be the answer of its first call, as it was then.
                    view = await self._client.api.devboxes.retrieve(made.id)
                    ended = view.status in ENDED
            except (InvalidSpec, NotFound):
                self._policies.forget()  # it may be our policy that is gone
                raise
            if not ended:
                return RemoteSandbox(await self._booted(view), spec)
        raise ProviderUnavailable(f"{MAX_USES_OF_A_KEY} devboxes of this key have ended: {why(view)}", provider=NAME)

    async def _booted(self, view: DevboxView) -> RunloopMachine:
        """One that never ran is ended when it does not start; one that did has a disk, and is left as it is."""
        machine = self._machine(view.id)
        if view.status not in BOOTING:
            await machine.resume()
            return machine
        try:
            await self._devboxes.until(view, "running", passing=BOOTING)
        except (ProviderUnavailable, CapacityUnavailable):
            await self._give_up(machine)
            raise
        return machine

    async def _give_up(self, machine: RunloopMachine) -> None:
        try:
            await machine.terminate()
        except SandboxError:
            return  # the error that is on its way says more, and the reaper finds it by its label

    def _machine(self, id: str) -> RunloopMachine:
        return RunloopMachine(self._client, id, self._devboxes, self._snapshots, **self._of_machines)

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        """One that is suspended stays so."""
        view = await self._devboxes.view(_named(ref, "id")["id"])
        return RemoteSandbox(self._machine(view.id))

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        """The vendor knows lists by state only; without one, everything comes that there ever was."""
        found: dict[str, SandboxInfo] = {}

        async def look(status: Any) -> None:
            pages = self._client.api.devboxes.list(status=status, limit=PAGE_SIZE, include_total_count=False)
            async for view in pages:
                if view.status not in ENDED and options.matches(labels, view.metadata):
                    found[view.id] = info_of(view)

        with translated():
            await asyncio.gather(*(look(status) for status in LIVE))
        return list(found.values())

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        """Size, network, variables and labels are the spec's; the disk, and with it the image, the snapshot's."""
        self._require(spec)
        id = _named(snapshot, "snapshot")["snapshot"]
        await self._snapshots.require(id)

        async def make(number: int) -> RemoteSandbox | SandboxError:
            try:
                return await self._make(spec, f"{idempotency_key}-{number}", {"snapshot_id": id})
            except SandboxError as error:
                return error

        made = await asyncio.gather(*(make(number) for number in range(count)))
        if made and all(isinstance(each, NotFound) for each in made):
            raise NotFound(f"there is no snapshot {id}", provider=NAME)
        return made

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        await self._snapshots.delete(_named(snapshot, "snapshot")["snapshot"])

    # Blueprints -----------------------------------------------------------------------------------------------------

    async def build_blueprint(self, name: str, *, image: str = blueprints.IMAGE, dockerfile: str = "") -> str:
        """Build one of an image, or of a Dockerfile, with Python 3.9 or later; name it in `blueprint` or in a spec's
        `image` afterwards. Returns its id."""
        return await blueprints.build(self._client, name, dockerfile or f"FROM {image}\n", self._poll_s)

    # The key --------------------------------------------------------------------------------------------------------

    async def ping(self) -> str:
        """By a list and not by the account: a restricted key may not see that."""
        with translated():
            page = await self._client.api.devboxes.list(limit=1, include_total_count=False)
            found = page.devboxes
        return f"Runloop at {self._client.api_url}, {'with' if found else 'without'} devboxes so far"

    async def close(self) -> None:
        await self._client.close()
