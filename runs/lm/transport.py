"""The HTTP transport below every SDK: only to the checked address, only with the headers meant for it, never
without bounds.

SDKs read organisation ids and extra headers from the environment and follow redirects; none of that may carry
a team's key elsewhere. So the request is checked here, after the SDK is done with it, and the IP address when
it is connected to.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpcore2
import httpx2

from runs.lm.addresses import Address, refuse_ip
from runs.lm.errors import LmMalformedReply, LmRefusedAddress

MOST_RESPONSE_BYTES = 64 * 2**20
MOST_CONNECTIONS = 1024
KEPT_CONNECTIONS = 64
KEEP_S = 60.0
CONNECT_TIMEOUT_S = 15.0

HEADERS_SENT = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"host",
        b"transfer-encoding",
        b"user-agent",
        b"x-api-key",
    }
)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a host itself and connects to an address that may be reached: a name cannot be rebound in
    between."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        last: Exception | None = None
        for ip in await self._resolve(host, port):
            try:
                return await self._inner.connect_tcp(ip, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise last or httpcore2.ConnectError(f"{host} has no address")

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error}") from error
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        reasons = {ip: refuse_ip(ip, private_allowed=self._address.private_allowed) for ip in ips}
        allowed = [ip for ip, reason in reasons.items() if reason is None]
        if not allowed:
            raise LmRefusedAddress(f"{host} was not reached: its address {reasons[ips[0]] if ips else 'is missing'}.")
        return allowed


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Sends requests to one address. Raises `LmRefusedAddress` and `LmMalformedReply` besides the library's
    errors."""

    def __init__(self, address: Address, *, most_response_bytes: int = MOST_RESPONSE_BYTES) -> None:
        super().__init__(trust_env=False)
        self._address = address
        self._most_response_bytes = most_response_bytes
        # The library has no public way to choose the backend of a transport; a test connects through it and
        # would notice.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context() if address.scheme == "https" else None,
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEEP_S,
            network_backend=GuardedBackend(address),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._check_target(request.url)
        kept = [(name, value) for name, value in request.headers.raw if name.lower() in HEADERS_SENT]
        request.headers = httpx2.Headers([*kept, (b"accept-encoding", b"identity")])
        response = await super().handle_async_request(request)
        if 300 <= response.status_code < 400:
            await response.aclose()
            raise LmRefusedAddress(
                "The endpoint redirects elsewhere; redirects are not followed.", status=response.status_code
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            # A few kilobytes can unpack to gigabytes, and nobody asked for compression.
            await response.aclose()
            raise LmMalformedReply("The endpoint sent a compressed reply that was not asked for.")
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(stream, self._most_response_bytes)
        return response

    def _check_target(self, url: httpx2.URL) -> None:
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.scheme, url.host.lower(), port) != (
            self._address.scheme,
            self._address.host,
            self._address.port,
        ):
            raise LmRefusedAddress(f"A request went to {url.host}:{port} instead of the endpoint of this key.")


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._left = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._left -= len(part)
            if self._left < 0:
                raise LmMalformedReply("The reply is longer than any reply may be.")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def http_client(address: Address, *, read_timeout_s: float) -> httpx2.AsyncClient:
    """The HTTP client to hand to an SDK."""
    timeout = httpx2.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S, pool=None)
    return httpx2.AsyncClient(
        transport=GuardedTransport(address), timeout=timeout, follow_redirects=False, trust_env=False
    )
