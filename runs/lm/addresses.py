"""Which addresses a model client may reach: checked when a base URL is saved, and again when a connection is
made.

A base URL passes when its host is a vendor's own (HTTPS on the usual port) or on the installation's
allow-list:

    models.example.org         HTTPS on port 443
    gpu-box:8000               HTTP or HTTPS on that port
    *.models.example.org       every host below it, HTTPS on port 443; `*.models.example.org:8000` likewise

At connection time the resolved IP address counts, not the name. Private addresses are for hosts that the list
names in full; link-local ones, where clouds keep their metadata services, and multicast are for nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from runs.lm.errors import LmRefusedAddress

VENDOR_HOSTS = frozenset(
    {
        "api.openai.com",
        "api.anthropic.com",
        "generativelanguage.googleapis.com",
        "openrouter.ai",
        "api.mistral.ai",
        "api.deepseek.com",
        "api.groq.com",
        "api.together.xyz",
        "api.fireworks.ai",
        "api.x.ai",
        "api.cerebras.ai",
        "api.cohere.ai",
        "api.perplexity.ai",
        "api.moonshot.ai",
        "api.deepinfra.com",
        "api.sambanova.ai",
        "integrate.api.nvidia.com",
        "router.huggingface.co",
        "dashscope-intl.aliyuncs.com",
        "models.github.ai",
    }
)
"""Public API endpoints of model vendors; each is a fixed name of the vendor's own, reached by HTTPS only."""

MOST_URL_CHARS = 500
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL that passed. `private_allowed`: the list names this host, so it may be in a private
    network."""

    url: str
    scheme: str
    host: str
    port: int
    private_allowed: bool


def check_base_url(
    url: str, allowed_hosts: Sequence[str] = (), *, vendor_hosts: frozenset[str] = VENDOR_HOSTS
) -> Address:
    """Raises `LmRefusedAddress` that says what is wrong and what to do."""
    scheme, host, port = _parts(url)
    entries = [entry for entry in map(str.lower, allowed_hosts) if _entry_fits(entry, scheme, host, port)]
    if entries:
        named = any(not entry.startswith("*.") for entry in entries)
        return Address(url, scheme, host, port, private_allowed=named)
    if host in vendor_hosts and scheme == "https" and port == 443:
        return Address(url, scheme, host, port, private_allowed=False)
    raise LmRefusedAddress(
        f"{host}:{port} ({scheme}) is not an endpoint that this installation allows. An administrator can add it to "
        "RLMWEB_MODEL_HOSTS, with its port if it is not HTTPS on 443."
    )


def _parts(url: str) -> tuple[str, str, int]:
    """Scheme, host and port as the HTTP library itself will read them; what two parsers could read
    differently is refused."""
    if len(url) > MOST_URL_CHARS or not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise LmRefusedAddress("The base URL is too long or has characters that do not belong into an address.")
    try:
        parsed = httpx2.URL(url)
        port = parsed.port
    except (httpx2.InvalidURL, ValueError) as error:
        raise LmRefusedAddress(f"The base URL cannot be read: {error}") from error
    if parsed.scheme not in {"http", "https"}:
        raise LmRefusedAddress("The base URL must start with https:// or http://.")
    if parsed.userinfo or "@" in url:
        raise LmRefusedAddress("The base URL must not hold a user name or password; store the key on its own.")
    if parsed.query or parsed.fragment or "?" in url or "#" in url:
        raise LmRefusedAddress("The base URL must not have a query or a fragment.")
    host = parsed.host.lower()
    if not _HOST.fullmatch(host) and _ip(host) is None:
        raise LmRefusedAddress("The base URL has no proper host name.")
    return parsed.scheme, host, port or (443 if parsed.scheme == "https" else 80)


def _entry_fits(entry: str, scheme: str, host: str, port: int) -> bool:
    name, wanted_port = _split_entry(entry)
    if wanted_port is None and (scheme, port) != ("https", 443):
        return False
    if wanted_port is not None and wanted_port != port:
        return False
    return host.endswith(name[1:]) and len(host) > len(name) - 1 if name.startswith("*.") else host == name


def _split_entry(entry: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[ip6]`, `[ip6]:port`; anything else fits nothing."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", entry)
    if match is None:
        return "", -1
    return match.group(1).strip("[]"), int(match.group(2)) if match.group(2) else None


def refuse_ip(text: str, *, private_allowed: bool) -> str | None:
    """Why a connection to this resolved IP address is refused; None when it may be made."""
    ip = _ip(text)
    if ip is None:
        return "is not an IP address"
    ip = _embedded(ip)
    if not ip.is_loopback and (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved):
        return "is link-local, multicast or reserved"
    if not ip.is_global and not private_allowed:
        return "is in a private network, and the allow-list does not name this host"
    return None


def _ip(text: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _embedded(ip: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4 and NAT64 would otherwise pass for
    global."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
