"""HTTP to Blaxel with the key of one team.

The vendor's SDK keeps its credentials and its client in the process; several teams in one worker would share them. So
this is our own, and each provider object has one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from sandboxes.errors import ProviderUnavailable
from sandboxes.providers.blaxel.errors import NAME, Refusal, broken, malformed

API_VERSION = "2026-09-22"
"""Before 2026-04-28 lists were bare arrays without pages."""
CONNECT_S = 15.0
ANSWER_S = 120.0
ANSWER_BYTES = 64 << 20
TRIES = 3
PAUSE_S = 0.2
KEPT_CONNECTIONS = 64
SILENT = frozenset({408, 502, 503, 504})
"""Statuses of a gateway that had no answer from behind it: what is safe to repeat is asked again."""


class BlaxelClient:
    """`base_url`: of the control plane. Requests go there and to the sandboxes' own addresses, which it tells."""

    def __init__(self, api_key: str, workspace: str, base_url: str, *, pause_s: float = PAUSE_S) -> None:
        self.workspace = workspace
        self._base_url = base_url.rstrip("/")
        self._pause_s = pause_s
        self._http = httpx2.AsyncClient(
            headers={
                "X-Blaxel-Authorization": f"Bearer {api_key}",
                "X-Blaxel-Workspace": workspace,
                "Blaxel-Version": API_VERSION,
                "User-Agent": "rlmweb",
                "Accept-Encoding": "identity",
            },
            # Every open line to a runner holds a connection: their number is that of the sandboxes, not ours to limit.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS),
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S, pool=None),
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"BlaxelClient(workspace={self.workspace!r})"

    async def close(self) -> None:
        await self._http.aclose()

    def url(self, path: str) -> str:
        return f"{self._base_url}{path}"

    def trusted(self, url: str) -> str:
        """The address of a sandbox. Raises `ProviderUnavailable` for one that would carry the key unprotected."""
        if not url.startswith("https://") and self._base_url.startswith("https://"):
            raise malformed(f"the sandbox's address {url[:100]!r} is not https")
        return url.rstrip("/")

    async def call(
        self,
        method: str,
        url: str,
        *,
        again: bool,
        timeout_s: float = ANSWER_S,
        expect_json: bool = True,
        **content: Any,
    ) -> Any:
        """The JSON of the answer. `again`: it may be sent again when nobody knows whether it arrived."""
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                async with self.stream(method, url, timeout_s=timeout_s, **content) as response:
                    body = await read_all(response)
                if response.status_code >= 400:
                    refusal = Refusal(response.status_code, response.headers, body)
                    if last or not (refusal.safe_to_retry or (again and response.status_code in SILENT)):
                        raise refusal.error()
                else:
                    return _parsed(body) if expect_json else None
            except httpx2.HTTPError as error:
                if last or not again:
                    raise broken(error) from error
            await asyncio.sleep(self._pause_s * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    async def call_once(self, method: str, url: str, *, timeout_s: float = ANSWER_S, **content: Any) -> None:
        """Send it once, whatever comes back: a second copy would do harm."""
        try:
            async with self.stream(method, url, timeout_s=timeout_s, **content) as response:
                body = await read_all(response)
        except httpx2.HTTPError as error:
            raise broken(error) from error
        if response.status_code >= 400:
            raise Refusal(response.status_code, response.headers, body).error()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        timeout_s: float = ANSWER_S,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> AsyncIterator[httpx2.Response]:
        """An answer whose body is still to be read. Raises httpx2's errors, and `ProviderUnavailable` for a bad address."""
        if self._http.is_closed:
            raise ProviderUnavailable("the provider was closed", provider=NAME)
        try:
            timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S, pool=None)
            async with self._http.stream(method, url, headers=headers, timeout=timeout, **content) as response:
                yield response
        except httpx2.InvalidURL as error:
            raise broken(error) from error

    @asynccontextmanager
    async def opened(self, method: str, url: str, **options: Any) -> AsyncIterator[httpx2.Response]:
        """As `stream`, with every failure as ours: a refusal before the body, and a break in it."""
        try:
            async with self.stream(method, url, **options) as response:
                if response.status_code >= 400:
                    body = await read_all(response)
                    raise Refusal(response.status_code, response.headers, body).error()
                yield response
        except httpx2.HTTPError as error:
            raise broken(error) from error


async def read_all(response: httpx2.Response) -> bytes:
    """Raises `ProviderUnavailable` for an answer beyond all measure."""
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > ANSWER_BYTES:
            raise malformed(f"it is longer than {ANSWER_BYTES} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(repr(body[:80])) from error


def mapping(found: Any) -> dict[str, Any]:
    """An object, where the answer has to be one. Raises `ProviderUnavailable`."""
    if not isinstance(found, dict):
        raise malformed(repr(found)[:80])
    return found


class Deadline:
    """Seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return self._until - time.monotonic()

    @property
    def over(self) -> bool:
        return self.left_s <= 0
