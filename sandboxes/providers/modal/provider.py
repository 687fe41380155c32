"""Sandboxes at Modal. Source of calls and limits: the client 1.6.4 and modal.com/docs, read 2026-11-22."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import modal

from sandboxes.contract import SandboxInfo, SandboxRef, SnapshotRef, Spec
from sandboxes.errors import CapacityUnavailable, InvalidSpec, NotFound, SandboxError, Unsupported
from sandboxes.providers.modal import options, snapshots
from sandboxes.providers.modal.client import APP, SERVER_URL, Client
from sandboxes.providers.modal.description import NAME, ModalDescription
from sandboxes.providers.modal.errors import translated
from sandboxes.providers.modal.machine import ModalMachine, reference
from sandboxes.providers.modal.options import TAG, name_of
from sandboxes.remote.references import parts_of
from sandboxes.remote.sandbox import RemoteSandbox

PLACE_TIMEOUT_S = 90.0
"""How long a place is waited for, at all GPU types together: less than `sandboxes.services.CREATE_TIMEOUT_S`, so that the
next provider has its turn. The vendor's client waits 21 minutes."""
AT_ONCE = 16
"""Calls for the tags of sandboxes in a list."""
_named = partial(parts_of, provider=NAME, title="Modal")


class ModalProvider(ModalDescription):
    """`image`: a registry's, for sessions whose spec names none. `app`: holds our sandboxes, and is made when missing.
    `environment`: of the workspace; empty: its default."""

    def __init__(
        self,
        *,
        token_id: str,
        token_secret: str,
        environment: str = "",
        image: str = "",
        memory_snapshots: bool = False,
        app: str = APP,
        server_url: str = SERVER_URL,
        workspace: str = "/workspace",
        python: Sequence[str] = ("python3",),
        place_timeout_s: float = PLACE_TIMEOUT_S,
    ) -> None:
        super().__init__(memory_snapshots=memory_snapshots)
        self._client = Client(token_id, token_secret, app, environment, server_url)
        self._image = image
        self._workspace = workspace
        self._python = python
        self._place_timeout_s = place_timeout_s

    def __repr__(self) -> str:
        return f"ModalProvider({self._client!r})"

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        sandbox = await self._place(self._client.image(spec.image or self._image), spec, idempotency_key)
        return RemoteSandbox(self._machine(sandbox), spec)

    async def _place(self, image: modal.Image, spec: Spec, key: str) -> modal.Sandbox:
        """The GPUs in the order that the spec prefers them. Raises `CapacityUnavailable` when there is none of any."""
        gpus = options.gpus_of(spec)
        wait_s = self._place_timeout_s / len(gpus)
        for gpu in gpus[:-1]:
            try:
                return await self._make(image, spec, key, gpu, wait_s)
            except CapacityUnavailable:
                continue
        return await self._make(image, spec, key, gpus[-1], wait_s)

    async def _make(self, image: modal.Image, spec: Spec, key: str, gpu: str, wait_s: float) -> modal.Sandbox:
        arguments = options.create_options(spec, gpu)
        if self._memory_snapshots and not gpu:
            arguments["_experimental_enable_snapshot"] = True
        client, app, name = await self._client.open(), await self._client.app(), name_of(key)
        try:
            async with asyncio.timeout(wait_s):
                with translated():
                    try:
                        return await modal.Sandbox.create.aio(
                            app=app, image=image, name=name, client=client, **arguments
                        )
                    except modal.exception.AlreadyExistsError:
                        # An earlier call with this key made it; the vendor gives a name to one running sandbox only.
                        return await self._named(name)
        except TimeoutError as error:
            what = gpu or "the sandbox"
            message = f"no room for {what} within {wait_s:g} s, or its image is still being built"
            raise CapacityUnavailable(message, provider=NAME) from error

    async def _named(self, name: str) -> modal.Sandbox:
        client = await self._client.open()
        return await modal.Sandbox.from_name.aio(self._client.app_name, name, client=client, **self._client.where)

    def _machine(self, sandbox: modal.Sandbox) -> ModalMachine:
        return ModalMachine(self._client, sandbox, self._workspace, self._python)

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        id = _named(ref, "id")["id"]
        client = await self._client.open()
        with translated():
            sandbox = await modal.Sandbox.from_id.aio(id, client=client)
        if sandbox.returncode is not None:
            raise NotFound(f"there is no sandbox {id} any more", provider=NAME)
        return RemoteSandbox(self._machine(sandbox))

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        """Tags are asked for one sandbox after another, some at a time: the client's list leaves them out."""
        client, app = await self._client.open(), await self._client.app()
        with translated():
            pages = modal.Sandbox.list.aio(app_id=app.app_id, tags={**labels, TAG: "1"}, client=client)
            found = [sandbox async for sandbox in pages]
        room = asyncio.Semaphore(AT_ONCE)

        async def shown(sandbox: Any) -> SandboxInfo | None:
            async with room:
                try:
                    with translated():
                        return options.info_of(reference(sandbox.object_id), await sandbox.get_tags.aio())
                except NotFound:
                    return None  # it ended meanwhile

        return [info for info in await asyncio.gather(*map(shown, found)) if info is not None]

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        """One of memory has the size, the network and the length of life of the sandbox that it was taken of."""
        self._require(spec)
        named = _named(snapshot, "snapshot")
        if named.get("kind") == "memory" and not self._memory_snapshots:
            raise Unsupported("memory_snapshot (allow it in the provider's settings)", provider=NAME)

        async def make(number: int) -> RemoteSandbox | SandboxError:
            try:
                sandbox = await self._restored(named, spec, f"{idempotency_key}-{number}")
                return RemoteSandbox(self._machine(sandbox), spec)
            except SandboxError as error:
                return error

        made = await asyncio.gather(*(make(number) for number in range(count)))
        if made and all(isinstance(each, NotFound) for each in made):
            raise NotFound(f"there is no snapshot {named['snapshot']}", provider=NAME)
        return made

    async def _restored(self, named: Mapping[str, str], spec: Spec, key: str) -> modal.Sandbox:
        if named.get("kind") != "memory":
            client = await self._client.open()
            return await self._place(modal.Image.from_id(named["snapshot"], client=client), spec, key)
        with translated():
            try:
                sandbox = await snapshots.restore_memory(self._client, named["snapshot"], name_of(key))
            except modal.exception.AlreadyExistsError:
                sandbox = await self._named(name_of(key))
            # Also where an earlier call made it and came no further: without them nobody finds it to end it.
            await sandbox.set_tags.aio(options.create_options(spec)["tags"])
        return sandbox

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        named = _named(snapshot, "snapshot")
        await snapshots.delete(self._client, named.get("kind", "fs"), named["snapshot"])

    # The key --------------------------------------------------------------------------------------------------------

    async def ping(self) -> str:
        await self._client.hello()
        app, rates = await self._client.app(), await self._client.rates()
        charged = ", ".join(f"{name} {usd.normalize():f}" for name, usd in sorted(rates.items()))
        return f"Modal app {self._client.app_name} ({app.app_id}); rates of the account in USD: {charged or 'not told'}"

    async def close(self) -> None:
        await self._client.close()
