"""Which base URLs pass, and which resolved addresses a connection is made to."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from runs.lm.addresses import VENDOR_HOSTS, check_base_url, refuse_ip
from runs.lm.base import LmRequest, Message, ModelChoice
from runs.lm.errors import LmRefusedAddress
from runs.lm.registry import builder
from runs.lm.site import Site
from tests.runs.lm.faulty_server import FaultyServer


@pytest.mark.parametrize("host", sorted(VENDOR_HOSTS))
def test_vendors_pass_by_https_without_a_list(host: str) -> None:
    assert check_base_url(f"https://{host}/v1").private_allowed is False
    for url in (f"http://{host}/v1", f"https://{host}:8443/v1", f"https://{host}.evil.example/"):
        with pytest.raises(LmRefusedAddress):
            check_base_url(url)


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://models.example.org/v1", "models.example.org"),
        ("https://MODELS.example.org/v1", "Models.Example.org"),
        ("http://gpu-box:8000/v1", "gpu-box:8000"),
        ("https://gpu-box:8000/v1", "gpu-box:8000"),
        ("http://127.0.0.1:11434/v1", "127.0.0.1:11434"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
        ("https://a.models.example.org/v1", "*.models.example.org"),
        ("http://a.b.example.org:81/v1", "*.example.org:81"),
        ("http://box/v1", "box:80"),
    ],
)
def test_entries_of_the_list_pass(url: str, entry: str) -> None:
    assert check_base_url(url, (entry,)).private_allowed is not entry.startswith("*")


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://models.example.org/v1", "models.example.org"),
        ("https://models.example.org:444/v1", "models.example.org"),
        ("http://gpu-box:8001/v1", "gpu-box:8000"),
        ("https://models.example.org.evil.example/v1", "models.example.org"),
        ("https://models.example.org/v1", "*.models.example.org"),
        ("https://evilmodels.example.org/v1", "*.models.example.org"),
        ("https://anything.example/v1", "*"),
        ("https://anything.example/v1", "*.*"),
        ("https://anything.example/v1", "https://anything.example"),
        ("https://anything.example/v1", ""),
    ],
)
def test_what_only_looks_like_an_entry_does_not_pass(url: str, entry: str) -> None:
    with pytest.raises(LmRefusedAddress, match="RLMWEB_MODEL_HOSTS"):
        check_base_url(url, (entry,))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://api.openai.com/",
        "file:///etc/passwd",
        "https://user:pass@api.openai.com/v1",
        "https://@api.openai.com/v1",
        "https://api.openai.com@evil.example/v1",
        "https://evil.example\\@api.openai.com/v1",
        "https://api.openai.com\t.evil.example/",
        "https://api.openai.com /v1",
        "https://api.openai.com/v1?x=1",
        "https://api.openai.com/v1#x",
        "https://api.openai.com./v1",
        "https://\u24d0pi.openai.com/v1",
        "https://api.openai.com%2eevil.example/",
        "https://api.openai.com:99999/v1",
        "https:///v1",
        "https://api.openai.com/" + "a" * 600,
    ],
)
def test_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises(LmRefusedAddress):
        check_base_url(url)


@pytest.mark.parametrize(
    ("ip", "anyone", "named"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.5", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("64:ff9b::7f00:1", False, True),
        ("2002:7f00:1::", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),  # noqa: S104  # refused, not listened on
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
        ("not-an-ip", False, False),
    ],
)
def test_private_addresses_are_for_named_hosts_and_link_local_for_nobody(ip: str, anyone: bool, named: bool) -> None:
    assert (refuse_ip(ip, private_allowed=False) is None) is anyone
    assert (refuse_ip(ip, private_allowed=True) is None) is named


def ask(base_url: str, hosts: tuple[str, ...]) -> str:
    async def go() -> str:
        choice = ModelChoice("openai", "m", base_url, extra={"retry": {"max_attempts": 1}})
        client = builder("openai")(choice, "key", Site(allowed_hosts=hosts))
        try:
            return (await client.complete(LmRequest((Message("user", "hello"),)))).text
        finally:
            await client.aclose()

    return asyncio.run(go())


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ips: str) -> list[str]:
    """Lets every name resolve to `ips`; returns the list of names that were looked up."""
    asked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_a_public_name_that_resolves_to_a_private_address_is_not_reached(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(server.requests)
    resolve_to(monkeypatch, "127.0.0.1")
    with pytest.raises(LmRefusedAddress, match="private network"):
        ask(f"http://a.example.org:{server.port}/ok/v1", (f"*.example.org:{server.port}",))
    assert len(server.requests) == before


def test_metadata_services_are_not_reached_even_by_a_named_host(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "169.254.169.254")
    with pytest.raises(LmRefusedAddress, match="link-local"):
        ask("http://metadata.internal:80/v1", ("metadata.internal:80",))


def test_the_address_that_was_checked_is_the_one_connected_to(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, "169.254.169.254", "127.0.0.1")
    host = f"gpu-box:{server.port}"
    assert ask(f"http://{host}/ok/v1", (host,)) == "The answer is 42."
    assert asked == ["gpu-box"], "one look-up, by us: a second one could give another address"
    assert server.requests[-1].headers["host"] == host
