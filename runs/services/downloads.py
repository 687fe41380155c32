"""Fetching a context by URL: only from hosts that are allowed, only to addresses that may be reached, never unbounded.

The rules are those of model endpoints (`runs.lm.addresses`), with an allow-list of its own: a host that may be sent a
question is not for that a host that may be read by everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2

from runs.lm.addresses import Address, check_base_url
from runs.lm.errors import LmError, LmMalformedReply, LmRefusedAddress
from runs.lm.transport import CONNECT_TIMEOUT_S, GuardedTransport
from sandboxes import aio

READ_TIMEOUT_S = 30.0
TOTAL_TIMEOUT_S = 600.0
MAX_QUERY_CHARS = 2_000


class DownloadError(ValueError):
    """A URL cannot be fetched; the message says why and what to do."""


def download(url: str, target: Path, *, hosts: Sequence[str], max_bytes: int) -> str:
    """Write the content of `url` to `target` and return its name, from the path of the URL. Raises `DownloadError`."""
    address = _checked(url, hosts)
    try:
        aio.run(_fetch(url, address, target, max_bytes), timeout_s=TOTAL_TIMEOUT_S)
    except TimeoutError as error:
        raise DownloadError(f"{address.host} did not send everything within {TOTAL_TIMEOUT_S:g} s.") from error
    except LmMalformedReply as error:
        raise DownloadError(f"{address.host} sent more than {max_bytes:,} bytes, or compressed them.") from error
    except LmError as error:
        raise DownloadError(str(error)) from error
    except httpx2.HTTPError as error:
        raise DownloadError(f"{address.host} could not be read: {error or type(error).__name__}") from error
    return unquote(urlsplit(url).path).rpartition("/")[2] or address.host


def _checked(url: str, hosts: Sequence[str]) -> Address:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise DownloadError(f"The address cannot be read: {error}") from error
    if len(parts.query) > MAX_QUERY_CHARS or parts.fragment:
        raise DownloadError("The address must not have a fragment, nor a query that long.")
    # The checker refuses queries, which a base URL of a model must not have; host and scheme are what it decides on.
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    try:
        return check_base_url(bare, hosts, vendor_hosts=frozenset())
    except LmRefusedAddress as error:
        allowed = ", ".join(hosts) or "none"
        raise DownloadError(f"This address is not allowed. Hosts in RLMWEB_CONTEXT_HOSTS: {allowed}.") from error


async def _fetch(url: str, address: Address, target: Path, max_bytes: int) -> None:
    # One byte more than allowed arrives before the transport gives up; whoever stores the file checks its size again.
    transport = GuardedTransport(address, most_response_bytes=max_bytes + 1)
    timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    client = httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)
    async with client, client.stream("GET", url) as response:
        if response.status_code != 200:
            raise DownloadError(f"{address.host} answered with status {response.status_code}.")
        with target.open("wb") as file:
            async for chunk in response.aiter_raw():
                file.write(chunk)
