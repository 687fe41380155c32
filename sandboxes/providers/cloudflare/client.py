"""HTTP and WebSocket to one Worker, with the key of one team."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from sandboxes.errors import InvalidSpec, ProviderUnavailable
from sandboxes.providers.cloudflare.errors import NAME, broken, malformed, refusal

CONNECT_S = 15.0
ANSWER_S = 120.0
ANSWER_BYTES = 64 << 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

wire = logging.getLogger("sandboxes.providers.cloudflare.wire")
wire.setLevel(logging.INFO)  # below that websockets writes down every header, and one of them is the key


class WorkerClient:
    """`url`: where the Worker is, e.g. `https://sandbox.acme.workers.dev`."""

    def __init__(self, url: str, api_key: str, *, provider: str = NAME) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise InvalidSpec("the Worker's address begins with https://: the key goes there", provider=provider)
        if not api_key:
            raise InvalidSpec("the key is empty; a bridge without SANDBOX_API_KEY serves everybody", provider=provider)
        self.url = url.rstrip("/")
        self.provider = provider
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.AsyncClient(
            headers={**self._headers, "User-Agent": "rlmweb", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=None),
            follow_redirects=False,
            trust_env=False,
        )
        # One for all lines: making one reads the machine's certificates.
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def __repr__(self) -> str:
        return f"WorkerClient({self.url!r})"

    async def close(self) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, *, timeout_s: float = ANSWER_S, **content: Any) -> Any:
        """The JSON of the answer, None for an empty one."""
        async with self.opened(method, path, timeout_s=timeout_s, **content) as response:
            body = await self._read_all(response)
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise malformed(repr(body[:80]), self.provider) from error

    async def call_mapping(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        found = await self.call(method, path, **content)
        if not isinstance(found, dict):
            raise malformed(repr(found)[:80], self.provider)
        return found

    @asynccontextmanager
    async def opened(
        self, method: str, path: str, *, timeout_s: float = ANSWER_S, **content: Any
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is still to be read. Refusals and breaks are raised as ours; time-outs are `TimeoutError`
        of nobody but the caller: `timeout_s` is between two pieces of the answer."""
        if self._http.is_closed:
            raise ProviderUnavailable("the provider was closed", provider=self.provider)
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S, pool=None)
        try:
            async with self._http.stream(method, self.url + path, timeout=timeout, **content) as response:
                if response.status_code >= 300:
                    body = await self._read_all(response)
                    raise refusal(response.status_code, response.headers, body, self.provider)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise broken(error, self.provider) from error

    async def _read_all(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > ANSWER_BYTES:
                raise malformed(f"it is longer than {ANSWER_BYTES} bytes", self.provider)
        return bytes(body)

    async def connect(self, path: str) -> ClientConnection:
        """A WebSocket. Raises `SandboxError`s only."""
        try:
            return await connect(
                "ws" + self.url.removeprefix("http") + path,
                additional_headers=self._headers,
                logger=wire,
                compression=None,
                max_size=None,
                open_timeout=CONNECT_S,
                close_timeout=1,
                proxy=None,
                ssl=self._tls,
            )
        except InvalidStatus as error:
            answer = error.response
            headers: Mapping[str, str] = dict(answer.headers.raw_items())
            lowered = {name.lower(): value for name, value in headers.items()}
            raise refusal(answer.status_code, lowered, bytes(answer.body or b""), self.provider) from error
        except (InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
            raise broken(error, self.provider) from error
