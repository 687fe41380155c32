"""From a model choice to the client that speaks its API. SDKs take seconds to import: each is imported on first use."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from runs.lm.base import LmClient, ModelChoice
from runs.lm.errors import LmBadRequest
from runs.lm.site import Site, from_settings

Builder = Callable[[ModelChoice, str, Site], LmClient]

BUILDERS: dict[str, str] = {
    "openai": "runs.lm.openai_compatible:build",
    "anthropic": "runs.lm.anthropic:build",
    "gemini": "runs.lm.gemini:build",
    "embedded": "runs.lm.embedded.client:build",
    "scripted": "runs.lm.scripted:build",
}
"""API to `module:function`. The function takes (choice, key, site) and opens no connection."""

MOST_CLIENTS = 64

_lock = threading.Lock()
_clients: OrderedDict[tuple[int, bytes], LmClient] = OrderedDict()


def client_for(
    choice: ModelChoice,
    *,
    key: str = "",
    allowed_hosts: Sequence[str] | None = None,
    site: Site | None = None,
) -> LmClient:
    """The client for `choice`, shared by all callers of this process so that connections are reused: do not close it.

    Use it on the background loop (`sandboxes.aio`) only. `site` defaults to the settings; `allowed_hosts` overrides its
    list. Raises `LmBadRequest`, `LmRefusedAddress` or `LmUnknownModel` when the choice itself cannot work.
    """
    site = site or from_settings()
    if allowed_hosts is not None:
        site = replace(site, allowed_hosts=tuple(allowed_hosts))
    identity = (os.getpid(), _fingerprint(choice, key, site))
    with _lock:
        client = _clients.get(identity)
        if client is None:
            client = _clients[identity] = builder(choice.api)(choice, key, site)
            _evict()
        _clients.move_to_end(identity)
        return client


def builder(api: str) -> Builder:
    if api not in BUILDERS:
        raise LmBadRequest(f"There is no LM client for the API {api!r}; there are {', '.join(BUILDERS)}.")
    module, _, function = BUILDERS[api].partition(":")
    build: Builder = getattr(importlib.import_module(module), function)
    return build


def _fingerprint(choice: ModelChoice, key: str, site: Site) -> bytes:
    """Identifies endpoint, key and options; the key itself is not kept as part of a cache key."""
    hosts = "\n".join(site.allowed_hosts)
    text = msgspec.json.encode((choice, hosts, str(site.data_dir), str(site.ledger_dir)), order="sorted")
    return hashlib.sha256(text + b"\0" + key.encode()).digest()


def _evict() -> None:
    """Forget the clients used longest ago. They are closed a little later, when their last call is surely over."""
    while len(_clients) > MOST_CLIENTS:
        (pid, _), client = _clients.popitem(last=False)
        if pid == os.getpid():
            _close_later(client)


def _close_later(client: LmClient) -> None:
    from sandboxes import aio

    async def close() -> None:
        await asyncio.sleep(CLOSE_AFTER_S)
        await client.aclose()

    aio.submit(close())


CLOSE_AFTER_S = 3600.0
