"""The vendor's client of one provider object, made in the first call."""

from __future__ import annotations

import os

import httpx
from runloop_api_client import AsyncRunloop

from sandboxes.errors import InvalidSpec
from sandboxes.providers.runloop.description import NAME

API_URL = "https://api.runloop.ai"
HEADERS_VARIABLE = "RUNLOOP_CUSTOM_HEADERS"
"""The one variable of the client that no argument of ours replaces; with an `Authorization` in it, it is another key."""
CALL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
RETRIES = 2
"""Of a call whose answer was lost, with the same idempotency key; the client's own 5 take half a minute to give up."""
IDLE_CONNECTIONS = 20


class Client:
    """Not made before the first call: it belongs to a running loop, and to a process that will not fork any more."""

    def __init__(self, api_key: str, api_url: str) -> None:
        if os.environ.get(HEADERS_VARIABLE):
            message = (
                f"{HEADERS_VARIABLE} in the environment would be sent with every call, over this key, too; unset it"
            )
            raise InvalidSpec(message, provider=NAME)
        self._api_key = api_key
        self.api_url = api_url
        self._http: httpx.AsyncClient | None = None
        self._api: AsyncRunloop | None = None
        self._once: AsyncRunloop | None = None

    def __repr__(self) -> str:
        return f"Client({self.api_url!r})"

    def _connections(self) -> httpx.AsyncClient:
        """A pool of our own. The client's is one for the whole process and all keys, and it speaks HTTP/2: there every
        open channel holds one of the 128 streams that a server gives to a connection, and a call without one waits."""
        if self._http is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS)
            timeout = httpx.Timeout(CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            self._http = httpx.AsyncClient(http2=False, limits=limits, timeout=timeout, follow_redirects=True)
        return self._http

    def _made(self, retries: int) -> AsyncRunloop:
        # Not `with_options`: without `http_client` it makes pools anew.
        return AsyncRunloop(
            bearer_token=self._api_key,
            base_url=self.api_url,
            http_client=self._connections(),
            max_retries=retries,
            timeout=CALL_TIMEOUT_S,
        )

    @property
    def api(self) -> AsyncRunloop:
        if self._api is None:
            self._api = self._made(RETRIES)
        return self._api

    @property
    def once(self) -> AsyncRunloop:
        """Without retries: for calls that wait at the server, which says 408 when nothing came of it."""
        if self._once is None:
            self._once = self._made(0)
        return self._once

    async def close(self) -> None:
        http, self._http, self._api, self._once = self._http, None, None, None
        if http is not None:
            await http.aclose()
