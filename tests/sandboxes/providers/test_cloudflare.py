"""Cloudflare's traps: a bridge that starts a container for whoever asks, and terminals that are not bytes."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from sandboxes import aio
from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, SandboxRef, Spec
from sandboxes.errors import AlreadyTerminated, CapacityUnavailable, InvalidSpec, NotFound, RateLimited, Unsupported
from sandboxes.providers.cloudflare import CloudflareProvider
from sandboxes.providers.cloudflare.errors import refusal
from sandboxes.providers.cloudflare.options import id_of
from tests.wire.cloudflare.rig import open_server, provider_of
from tests.wire.cloudflare.server import BridgeServer

SPEC = Spec(memory_mb=512, lifetime_s=600, idle_s=300, network=NetworkPolicy("open"))
TIMEOUT_S = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BridgeServer]:
    with open_server(tmp_path) as server:
        yield server
        server.engine.close()


@pytest.fixture
def provider(server: BridgeServer) -> Iterator[CloudflareProvider]:
    provider = provider_of(server)
    yield provider
    aio.run(provider.close(), timeout_s=10)


def test_asking_for_one_that_has_ended_leaves_no_container(provider: CloudflareProvider, server: BridgeServer) -> None:
    sandbox = aio.run(provider.create(SPEC, idempotency_key="one"), timeout_s=TIMEOUT_S)
    again = aio.run(provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(NotFound):
        aio.run(provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    with pytest.raises(AlreadyTerminated):
        aio.run(again.exec(["true"], timeout_s=5), timeout_s=TIMEOUT_S)
    assert server.engine.alive() == []


def test_a_lifetime_that_is_over_ends_it(provider: CloudflareProvider, server: BridgeServer) -> None:
    spec = replace(SPEC, lifetime_s=1)
    sandbox = aio.run(provider.create(spec, idempotency_key="short"), timeout_s=TIMEOUT_S)
    about = server.engine.alive()[0].host_path("/workspace/.rlm/cloudflare/about")
    about.write_text(json.dumps({**json.loads(about.read_text()), "expires_at": time.time() - 1}))
    with pytest.raises(NotFound):
        aio.run(provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    assert server.engine.alive() == []


def test_labels_are_kept_in_the_sandbox_with_ours(provider: CloudflareProvider) -> None:
    spec = replace(SPEC, labels={"session": "7"})
    sandbox = aio.run(provider.create(spec, idempotency_key="labels"), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).labels == {"session": "7", "rlmweb": "1"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gpu": GpuRequest(("H100",))}, "gpu"),
        ({"memory_mb": 100_000}, "memory_mb"),
        ({"cpu": 8.0}, "cpu"),
        ({"disk_mb": 100_000}, "disk_mb"),
        ({"region": "eu"}, "region"),
        ({"image": "python:3.12"}, "image"),
        ({"network": NetworkPolicy("blocked")}, "network"),
        ({"network": NetworkPolicy("allowlist", ("pypi.org",))}, "network"),
        ({"env": {"A B": "c"}}, "env"),
        ({"isolation_min": Isolation.MICROVM}, "isolation_min"),
    ],
)
def test_what_the_worker_cannot_give_is_named(
    provider: CloudflareProvider, changes: dict[str, object], field: str
) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    assert [problem.field for problem in provider.validate(spec)] == [field]


def test_addresses_and_keys_are_looked_at_first() -> None:
    for url, key in (("http://example.com", "key"), ("https://example.com", "")):
        with pytest.raises(InvalidSpec):
            CloudflareProvider(url=url, api_key=key)
    with pytest.raises(InvalidSpec):
        CloudflareProvider(url="https://example.com", api_key="key", instance_type="huge")


def test_a_reference_to_another_worker_is_not_asked_for(provider: CloudflareProvider, server: BridgeServer) -> None:
    ref = SandboxRef(json.dumps({"provider": "cloudflare", "url": "https://other.example.com", "id": id_of("x")}))
    with pytest.raises(NotFound):
        aio.run(provider.get(ref), timeout_s=TIMEOUT_S)
    assert server.calls == []


def test_a_tunnel_is_a_ports_address(provider: CloudflareProvider) -> None:
    sandbox = aio.run(provider.create(SPEC, idempotency_key="port"), timeout_s=TIMEOUT_S)
    assert "8000" in aio.run(sandbox.port_url(8000), timeout_s=TIMEOUT_S)


def test_there_is_no_list(provider: CloudflareProvider) -> None:
    with pytest.raises(Unsupported):
        aio.run(provider.list({}), timeout_s=TIMEOUT_S)


def test_codes_say_more_than_statuses() -> None:
    full = refusal(503, {}, b'{"error": "instance limit reached", "code": "capacity_exceeded"}')
    assert isinstance(full, CapacityUnavailable)
    path = refusal(403, {}, b'{"error": "path must resolve", "code": "invalid_request"}')
    assert isinstance(path, InvalidSpec)
    slow = refusal(429, {"retry-after": "3", "cf-ray": "abc"}, b"")
    assert isinstance(slow, RateLimited)
    assert (slow.retry_after_s, slow.request_id, slow.provider) == (3.0, "abc", "cloudflare")


def test_the_clients_take_what_we_give_them() -> None:
    assert {"headers", "limits", "timeout", "follow_redirects", "trust_env"} <= set(
        inspect.signature(httpx.AsyncClient).parameters
    )
    ours = {"additional_headers", "logger", "compression", "max_size", "open_timeout", "close_timeout", "proxy"}
    assert ours <= set(inspect.signature(connect).parameters)
