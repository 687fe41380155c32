"""The client of one provider object: its own key and address, and nothing of the process's environment but its logging."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import modal
from modal_proto import api_pb2

from sandboxes.errors import AuthFailed, InvalidSpec
from sandboxes.providers.modal.description import NAME
from sandboxes.providers.modal.errors import translated

SERVER_URL = "https://api.modal.com"
APP = "rlmweb"
CLOSE_TIMEOUT_S = 5.0
logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes every header down, the secret among them


class Client:
    """`modal.Client.from_credentials` takes its address from the environment; an object made by hand takes ours.

    The vendor's client lives in a loop of its own, one for all of the process, so that this may be used from any loop.
    It is opened by the first call, and again after a fork by itself.
    """

    def __init__(self, token_id: str, token_secret: str, app: str, environment: str, server_url: str) -> None:
        if not token_id or not token_secret:
            raise InvalidSpec("Modal needs token_id and token_secret", provider=NAME)
        self.app_name, self.environment = app, environment
        self._server_url = server_url
        self._credentials = (token_id, token_secret)
        self._opening: asyncio.Lock | None = None
        self._opened: modal.Client | None = None
        self._app: modal.App | None = None
        self._images: dict[str, modal.Image] = {}

    def __repr__(self) -> str:
        return f"Client({self._server_url!r}, app={self.app_name!r})"

    @property
    def where(self) -> dict[str, Any]:
        """The arguments of calls that look for something by name."""
        return {"environment_name": self.environment or None}

    async def open(self) -> modal.Client:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._opened is None:
                client = modal.Client(self._server_url, api_pb2.CLIENT_TYPE_CLIENT, self._credentials)
                with translated():
                    await client.__aenter__()  # type: ignore[no-untyped-call]
                self._opened = client
        return self._opened

    async def app(self) -> modal.App:
        """The app that our sandboxes belong to; made when there is none."""
        if self._app is None:
            client = await self.open()
            with translated():
                self._app = await modal.App.lookup.aio(
                    self.app_name, client=client, create_if_missing=True, **self.where
                )
        return self._app

    def image(self, tag: str) -> modal.Image:
        """Of a registry, or the vendor's Debian with this process's Python; built once, whoever asks.

        Portable snapshots move between sandboxes with the same minor version of Python, the local ones among them.
        """
        if tag not in self._images:
            own = f"{sys.version_info.major}.{sys.version_info.minor}"
            self._images[tag] = modal.Image.from_registry(tag) if tag else modal.Image.debian_slim(python_version=own)
        return self._images[tag]

    async def hello(self) -> None:
        client = await self.open()
        with translated():
            await client.hello.aio()  # type: ignore[no-untyped-call]

    async def rates(self) -> Mapping[str, Decimal]:
        """What this account is charged, in the vendor's words and units, USD. Empty where the token may not see it."""
        client = await self.open()
        workspace = modal.Workspace.from_context(client=client)
        try:
            with translated():
                return dict(await workspace.billing.rates.aio())
        except AuthFailed:
            return {}

    async def close(self) -> None:
        client, self._opened, self._app = self._opened, None, None
        self._images.clear()
        if client is not None:
            await asyncio.wait_for(client.close.aio(), CLOSE_TIMEOUT_S)
