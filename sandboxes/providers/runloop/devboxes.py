"""What the API says of a devbox, and waiting until it says something else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection

from runloop_api_client.types import DevboxView

from sandboxes.contract import Isolation, SandboxInfo, SandboxRef, SandboxState
from sandboxes.errors import CapacityUnavailable, NotFound, ProviderUnavailable
from sandboxes.providers.runloop.client import Client
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.errors import translated

STATES = {
    "scheduled": SandboxState.STARTING,
    "queued": SandboxState.STARTING,
    "provisioning": SandboxState.STARTING,
    "initializing": SandboxState.STARTING,
    "running": SandboxState.RUNNING,
    "suspending": SandboxState.PAUSED,
    "suspended": SandboxState.PAUSED,
    "resuming": SandboxState.STARTING,
    "failure": SandboxState.TERMINATED,
    "shutdown": SandboxState.TERMINATED,
}
ENDED = ("failure", "shutdown")
LIVE = tuple(status for status in STATES if status not in ENDED)
STARTING = tuple(status for status, state in STATES.items() if state is SandboxState.STARTING)
STATE_TIMEOUT_S = 300.0


class Devboxes:
    def __init__(self, client: Client, poll_s: float) -> None:
        self._client = client
        self._poll_s = poll_s

    async def view(self, id: str) -> DevboxView:
        """Raises `NotFound` for one that has ended: the vendor goes on to show it."""
        with translated():
            found = await self._client.api.devboxes.retrieve(id)
            if found.status in ENDED:
                raise NotFound(f"devbox {id} has ended: {why(found)}", provider=NAME)
        return found

    async def until(self, view: DevboxView, status: str, *, passing: Collection[str]) -> DevboxView:
        """Look at it until it has `status`, as long as it has one of `passing`.

        The client's own `await_running` asks again at once, without end, while there is no connection.

        Raises `ProviderUnavailable` when it takes another turn or too long, `CapacityUnavailable` for one still queued.
        """
        deadline = time.monotonic() + STATE_TIMEOUT_S
        while True:
            with translated():
                if view.status == status:
                    return view
                if view.status not in passing:
                    raise ProviderUnavailable(f"devbox {view.id} did not get {status}: {why(view)}", provider=NAME)
                if time.monotonic() > deadline:
                    kind = CapacityUnavailable if view.status == "queued" else ProviderUnavailable
                    raise kind(f"devbox {view.id} is {view.status} for more than {STATE_TIMEOUT_S:g} s", provider=NAME)
                await asyncio.sleep(self._poll_s)
                view = await self._client.api.devboxes.retrieve(view.id)


def why(view: DevboxView) -> str:
    return view.failure_reason or view.shutdown_reason or str(view.status)


def reference(id: str) -> SandboxRef:
    return SandboxRef(json.dumps({"provider": NAME, "id": id}))


def info_of(view: DevboxView) -> SandboxInfo:
    size = view.launch_parameters.resource_size_request or ""
    return SandboxInfo(
        reference(view.id),
        STATES.get(view.status, SandboxState.UNKNOWN),
        Isolation.MICROVM,
        size,
        view.create_time_ms / 1000,
        _expires_at(view),
        dict(view.metadata),
    )


def _expires_at(view: DevboxView) -> float | None:
    """None with an idle policy, which leaves the length open. Whether the vendor counts from the creation or from the
    start, or anew after it was suspended, is not documented: the earliest is what we say."""
    launch = view.launch_parameters
    if launch.after_idle or (launch.lifecycle and launch.lifecycle.after_idle):
        return None
    seconds = launch.keep_alive_time_seconds
    return view.create_time_ms / 1000 + seconds if seconds else None
