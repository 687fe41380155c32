"""The vendors' own clients, called without our adapters: what the adapters are held against.

The clients and their connections are those of the adapter beside them, so that only our part differs. A bare command is
`true` by the client's own call; where the client has none that keeps both streams and bytes, the adapter does more than
the bare call does, and its time shows that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sandboxes.contract import Spec

POLL_S = 0.02
"""As often as the adapter looks in the tests: its waiting is not what is compared."""
Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Bare:
    """`create` returns the client's own sandbox; `run` and `snapshot` are given it."""

    create: Call
    run: Callable[[Any], Awaitable[Any]]
    snapshot: Callable[[Any], Awaitable[Any]]


def bare(name: str, provider: Any, spec: Spec) -> Bare:
    """For a provider object that has been used before: its client exists. Raises `KeyError` without a client."""
    return MAKERS[name](provider, spec)


def _e2b(provider: Any, spec: Spec) -> Bare:
    from e2b import AsyncSandbox

    from sandboxes.providers.e2b import options

    given = provider._client.options
    template = str(options.choose(spec, provider._templates))
    return Bare(
        lambda: AsyncSandbox.create(template, timeout=spec.lifetime_s, allow_internet_access=False, **given),
        lambda made: made.commands.run("true"),
        lambda made: AsyncSandbox.create_snapshot(
            made.sandbox_id, f"bare-{uuid4().hex[:16]}", mode="filesystem", **given
        ),
    )


def _runloop(provider: Any, spec: Spec) -> Bare:
    api = provider._client.api
    launch = {"resource_size_request": "X_SMALL", "keep_alive_time_seconds": spec.lifetime_s}

    async def create() -> Any:
        made = await api.devboxes.create(name=f"bare-{uuid4().hex[:8]}", launch_parameters=launch)
        while (made := await api.devboxes.retrieve(made.id)).status != "running":  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(POLL_S)
        return made

    async def snapshot(made: Any) -> Any:
        taken = await api.devboxes.snapshot_disk_async(made.id, name=f"bare-{uuid4().hex[:16]}")
        while (await api.devboxes.disk_snapshots.query_status(taken.id)).status != "complete":  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(POLL_S)

    async def run(made: Any) -> Any:
        return await api.devboxes.execute(made.id, command="true", optimistic_timeout=25, command_id=str(uuid4()))

    return Bare(create, run, snapshot)


def _daytona(provider: Any, spec: Spec) -> Bare:
    from daytona import CreateSandboxFromImageParams, Resources

    from sandboxes.providers.daytona import options
    from sandboxes.providers.daytona.options import IMAGE

    async def create() -> Any:
        params = CreateSandboxFromImageParams(
            image=IMAGE,
            name=f"bare-{uuid4().hex[:16]}",
            resources=Resources(**options.resources(spec)),
            network_block_all=True,
        )
        return await provider._client.sdk.create(params, timeout=60)

    async def snapshot(made: Any) -> Any:
        name = f"bare-{uuid4().hex[:16]}"
        await made.create_snapshot(name)  # waits for the sandbox, and not for what was taken of it
        while (await provider._client.sdk.snapshot.get(name)).state != "active":  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(POLL_S)

    return Bare(
        create,
        lambda made: made.process.exec("true", timeout=60),
        snapshot,
    )


def _modal(provider: Any, spec: Spec) -> Bare:
    import modal

    from sandboxes.providers.modal import options

    async def create() -> Any:
        client, app = await provider._client.open(), await provider._client.app()
        arguments = options.create_options(spec)
        return await modal.Sandbox.create.aio(app=app, image=provider._client.image(""), client=client, **arguments)

    async def run(made: Any) -> Any:
        process = await made.exec.aio("true", text=False)
        await asyncio.gather(process.stdout.read.aio(), process.stderr.read.aio())
        return await process.wait.aio()

    return Bare(create, run, lambda made: made.snapshot_filesystem.aio())


MAKERS = {"modal": _modal, "e2b": _e2b, "runloop": _runloop, "daytona": _daytona}
