"""The client of the embedded model: finds the model process, waits its turn, says what is missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runs.lm.base import LmReply, LmRequest, ModelChoice, OnText, Sampling
from runs.lm.embedded.fairness import FairLock
from runs.lm.embedded.reporting import Endpoint, Places, read_endpoint, status
from runs.lm.errors import LmAuthFailed, LmUnavailable
from runs.lm.openai_compatible import OpenAiCompatibleClient, client_at
from runs.lm.site import Site

# A processor reads 20 to 40 tokens a second and a prompt may have 8,000 of them.
PATIENCE = {"attempt_timeout_s": 1800, "deadline_s": 3600, "max_attempts": 3}
LEAF_OUTPUT_TOKENS = 300
TURN_OUTPUT_TOKENS = 600
LOADING_WAIT_S = 90.0
POLL_S = 0.1

_locks: dict[Path, FairLock] = {}


class EmbeddedClient:
    """Asks the model process of one data folder, one request at a time."""

    def __init__(self, choice: ModelChoice, data_dir: Path) -> None:
        self._choice = choice
        self._data_dir = data_dir
        self._lock = _locks.setdefault(data_dir, FairLock())
        self._connected: tuple[Endpoint, OpenAiCompatibleClient] | None = None

    async def complete(self, request: LmRequest, on_text: OnText | None = None) -> LmReply:
        """As `LmClient.complete`. Raises `LmUnavailable` with the progress of the download while there are no weights."""
        request = _sober(request, self._choice.sampling)
        async with self._lock.turn(_session(request.key)):
            client = await self._client()
            try:
                reply = await client.complete(request, on_text)
            except (LmAuthFailed, LmUnavailable):
                # The process was started anew, with another port and key; if not, this fails in the same way.
                reply = await (await self._client()).complete(request, None)
        return replace(reply, model=self._choice.model)

    async def aclose(self) -> None:
        if self._connected is not None:
            await self._connected[1].aclose()
            self._connected = None

    async def _client(self) -> OpenAiCompatibleClient:
        endpoint = await self._endpoint()
        if self._connected is not None and self._connected[0] == endpoint:
            return self._connected[1]
        await self.aclose()
        extra = {"retry": PATIENCE, "cache_prompt": True, **self._choice.extra}
        choice = replace(self._choice, model=endpoint.model, base_url=endpoint.url, extra=extra)
        host = endpoint.url.split("/")[2]
        client = client_at(choice, endpoint.key, Site(allowed_hosts=(host,)), endpoint.url)
        self._connected = endpoint, client
        return client

    async def _endpoint(self) -> Endpoint:
        """Where the model answers. A model that is being loaded is waited for; a download is not."""
        give_up_at = time.monotonic() + LOADING_WAIT_S
        path = Places(self._data_dir).endpoint
        while True:
            endpoint = read_endpoint(path)
            if endpoint is not None:
                return endpoint
            found = status(self._data_dir)
            if found["state"] != "loading" or time.monotonic() > give_up_at:
                raise LmUnavailable(NOT_READY[found["state"]](found["bytes"], found["total"], found["error"]))
            await asyncio.sleep(POLL_S)


NOT_READY: dict[str, Callable[[int, int, str], str]] = {
    "downloading": lambda size, total, error: (
        f"The local model is being downloaded: {size // 10**6:,} of {total // 10**6:,} MB ({100 * size // total} %). "
        "Start the session again when it is here, or choose another model."
    ),
    "loading": lambda size, total, error: "The local model is being loaded and takes longer than usual.",
    "failed": lambda size, total, error: f"The local model could not be fetched: {error}",
    "absent": lambda size, total, error: f"The local model is not there. {error}".strip(),
    "ready": lambda size, total, error: "The local model says it is ready, but its address is missing.",
}


def _session(key: str) -> str:
    """Requests with the same beginning before `node/step/cell/subcall/index` belong together."""
    return key.rsplit("/", 5)[0] if key.count("/") >= 5 else ""


def _sober(request: LmRequest, chosen: Sampling) -> LmRequest:
    """No random choice and no endless text unless somebody asked for it: at ten tokens a second both cost dearly."""
    most = TURN_OUTPUT_TOKENS if request.kind == "turn" else LEAF_OUTPUT_TOKENS
    sampling = replace(
        request.sampling,
        temperature=_first(request.sampling.temperature, chosen.temperature, 0.0),
        max_output_tokens=request.sampling.max_output_tokens or chosen.max_output_tokens or most,
    )
    grammar = request.extra.get("gbnf")
    extra = {**request.extra, "grammar": grammar} if isinstance(grammar, str) else request.extra
    return replace(request, sampling=sampling, extra=extra)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def build(choice: ModelChoice, key: str, site: Site) -> EmbeddedClient:
    """The client of the model process that belongs to the installation's data folder."""
    if site.data_dir is None:
        raise LmUnavailable("This installation has no data folder, so it has no local model.")
    return EmbeddedClient(choice, site.data_dir)
