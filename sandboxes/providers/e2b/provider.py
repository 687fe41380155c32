"""Sandboxes at E2B. Source of calls and limits: the client 2.63.0 and e2b.dev/docs, read 2026-11-22."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from e2b import AsyncSandbox, SandboxQuery

from sandboxes.contract import (
    SandboxInfo,
    SandboxRef,
    SnapshotRef,
    Spec,
)
from sandboxes.errors import InvalidSpec, NotFound, SandboxError
from sandboxes.providers.e2b import options, templates
from sandboxes.providers.e2b.client import DOMAIN, Client
from sandboxes.providers.e2b.description import NAME, E2BDescription
from sandboxes.providers.e2b.errors import translated
from sandboxes.providers.e2b.machine import E2BMachine, reference
from sandboxes.providers.e2b.options import BASE, LABEL, MAX_LIFETIME_S, Size
from sandboxes.providers.e2b.snapshots import Snapshots
from sandboxes.providers.e2b.templates import IMAGE
from sandboxes.remote.references import parts_of
from sandboxes.remote.sandbox import RemoteSandbox

PAGE_SIZE = 100
CREATE_TIMEOUT_S = 120.0
_named = partial(parts_of, provider=NAME, title="E2B")


class E2BProvider(E2BDescription):
    """`templates`: the account's, by name, with their sizes; a session whose spec names none gets the smallest that is
    large enough. `max_lifetime_s`: an hour on the plan Hobby. `public_ports`: may the world reach ports of sandboxes?"""

    def __init__(
        self,
        *,
        api_key: str,
        templates: Mapping[str, Size | Sequence[int]] = BASE,
        domain: str = DOMAIN,
        api_url: str = "",
        sandbox_url: str = "",
        max_lifetime_s: int = MAX_LIFETIME_S,
        public_ports: bool = False,
        workspace: str = "/home/user/workspace",
        python: Sequence[str] = ("python3",),
    ) -> None:
        """A size is `Size` or a pair of cores and MiB, as it comes from JSON."""
        if not api_key:
            raise InvalidSpec("E2B needs api_key", provider=NAME)
        self._client = Client(api_key, domain, api_url, sandbox_url)
        self._snapshots = Snapshots(self._client)
        super().__init__(templates=templates, max_lifetime_s=max_lifetime_s, public_ports=public_ports)
        self._workspace = workspace
        self._python = python

    def __repr__(self) -> str:
        return f"E2BProvider({self._client!r})"

    def _require(self, spec: Spec) -> None:
        problems = self.validate(spec)
        if problems:
            raise InvalidSpec("; ".join(problem.message for problem in problems), provider=NAME)

    # Creating -------------------------------------------------------------------------------------------------------

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        self._require(spec)
        template = options.choose(spec, self._templates)
        return RemoteSandbox(await self._make(str(template), spec, idempotency_key), spec)

    async def _make(self, template: str, spec: Spec, key: str) -> E2BMachine:
        arguments = options.create_arguments(spec, key, public_ports=self._public_ports)
        with translated(placing=True):
            made = await AsyncSandbox.create(
                template, **arguments, **{**self._client.options, "request_timeout": CREATE_TIMEOUT_S}
            )
        return self._machine(made)

    def _machine(self, sandbox: AsyncSandbox) -> E2BMachine:
        return E2BMachine(
            self._client,
            sandbox,
            self._snapshots,
            workspace=self._workspace,
            python=self._python,
            public_ports=self._public_ports,
        )

    # Finding --------------------------------------------------------------------------------------------------------

    async def get(self, ref: SandboxRef) -> RemoteSandbox:
        """One that is paused stays so."""
        detail = await self._client.detail(_named(ref, "id")["id"])
        with translated():
            return RemoteSandbox(self._machine(self._client.sandbox(detail)))

    async def list(self, labels: Mapping[str, str]) -> Sequence[SandboxInfo]:
        found: list[SandboxInfo] = []
        with translated():
            query = SandboxQuery(metadata={**labels, LABEL: "1"})
            pages = AsyncSandbox.list(query, PAGE_SIZE, **self._client.options)
            while pages.has_next:
                for each in await pages.next_items():
                    ref, template = reference(each.sandbox_id), each.template_id
                    found.append(
                        options.info_of(ref, str(each.state), each.started_at, each.end_at, each.metadata, template)
                    )
        return found

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def restore(
        self, snapshot: SnapshotRef, spec: Spec, *, count: int = 1, idempotency_key: str
    ) -> Sequence[RemoteSandbox | SandboxError]:
        """Processor and memory are those of the snapshot."""
        self._require(spec)
        named = _named(snapshot, "snapshot")

        async def make(number: int) -> RemoteSandbox | SandboxError:
            try:
                machine = await self._make(named["snapshot"], spec, f"{idempotency_key}-{number}")
                if named.get("kind") != "memory":
                    await machine.forget_runner()
                return RemoteSandbox(machine, spec)
            except SandboxError as error:
                return error

        made = await asyncio.gather(*(make(number) for number in range(count)))
        if made and all(isinstance(each, NotFound) for each in made):
            raise NotFound(f"there is no snapshot {named['snapshot']}", provider=NAME)
        return made

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        await self._snapshots.delete(_named(snapshot, "snapshot")["snapshot"])

    # Templates ------------------------------------------------------------------------------------------------------

    async def build_template(self, name: str, size: Size, *, image: str = IMAGE) -> str:
        """Build a template of our own, and offer it to sessions of this provider object from then on. For longer, name
        it in `templates`. Returns its id."""
        id = await templates.build(self._client, name, size, image)
        self._templates[name] = size
        return id

    # The key --------------------------------------------------------------------------------------------------------

    async def ping(self) -> str:
        with translated():
            found = await AsyncSandbox.list(limit=1, **self._client.options).next_items()
        return f"E2B at {self._client.domain}, {'with' if found else 'without'} sandboxes"

    async def close(self) -> None:
        """The connections are the client's own, of the whole process."""
