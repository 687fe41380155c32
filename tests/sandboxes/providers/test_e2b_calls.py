"""E2B: the calls that we make of its client, and a spec in the words of its create call."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2b import AsyncSandbox, AsyncTemplate, ConnectionConfig, SandboxQuery
from e2b.api.client.api.sandboxes import get_sandboxes_sandbox_id
from e2b.api.client.models import SandboxDetail
from e2b.api.client_async import get_api_client
from e2b.envd.client_async import create_rpc_client
from e2b.envd.process import process_pb
from e2b.envd.process.process_connect import ProcessClient
from e2b.envd.rpc import handle_rpc_exception
from e2b.envd.utils import authentication_header, timeout_to_ms
from e2b.sandbox_async.filesystem.filesystem import Filesystem
from e2b.sandbox_async.sandbox_api import SandboxApi

from sandboxes import aio
from sandboxes.contract import GpuRequest, NetworkPolicy, Spec
from sandboxes.errors import InvalidSpec
from sandboxes.providers.e2b import E2BProvider
from sandboxes.providers.e2b.options import Size, create_arguments
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, key
from tests.wire.e2b.rig import open_server
from tests.wire.e2b.server import E2BServer
from tests.wire.rig import Rig

OPTIONS = ("opts",)
CALLS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "AsyncSandbox": (
        AsyncSandbox.__init__,
        ("self", *OPTIONS),
    ),
    "create": (
        AsyncSandbox.create,
        (
            "template", "timeout", "metadata", "envs", "secure", "allow_internet_access", "mcp", "network", "iam",
            "lifecycle", "volume_mounts", "logger", "idempotency_key", *OPTIONS,
        ),
    ),
    "list": (AsyncSandbox.list, ("query", "limit", "next_token", "order", *OPTIONS)),
    "kill": (SandboxApi._cls_kill, ("sandbox_id", *OPTIONS)),
    "set_timeout": (SandboxApi._cls_set_timeout, ("sandbox_id", "timeout", *OPTIONS)),
    "pause": (SandboxApi._cls_pause, ("sandbox_id", "keep_memory", "mode", "strict", *OPTIONS)),
    "connect": (
        AsyncSandbox._cls_connect_sandbox,
        ("sandbox_id", "timeout", "logger", "on_resume", *OPTIONS),
    ),
    "create_snapshot": (SandboxApi._cls_create_snapshot, ("sandbox_id", "name", "mode", *OPTIONS)),
    "list_snapshots": (
        AsyncSandbox._cls_list_snapshots,
        ("sandbox_id", "limit", "next_token", "name", *OPTIONS),
    ),
    "delete_snapshot": (AsyncSandbox.delete_snapshot, ("snapshot_id", *OPTIONS)),
    "get_host": (AsyncSandbox.get_host, ("self", "port")),
    "files.write": (
        Filesystem.write,
        ("self", "path", "data", "user", "request_timeout", "gzip", "use_octet_stream", "metadata"),
    ),
    "files.read": (
        Filesystem.read,
        ("self", "path", "format", "user", "request_timeout", "gzip", "stream_idle_timeout"),
    ),
    "template.build": (
        AsyncTemplate.build,
        (
            "template", "name", "alias", "tags", "cpu_count", "memory_mb", "min_free_disk_mb", "skip_cache",
            "on_build_logs", *OPTIONS,
        ),
    ),
    "template.from_image": (AsyncTemplate.from_image, ("self", "image", "username", "password")),
    "get_sandboxes_sandbox_id": (get_sandboxes_sandbox_id.asyncio_detailed, ("sandbox_id", "client")),
    "get_api_client": (get_api_client, ("config", "kwargs")),
    "create_rpc_client": (create_rpc_client, ("client_cls", "base_url", "config")),
    "process.start": (ProcessClient.start, ("self", "request", "headers", "timeout_ms")),
    "process.connect": (ProcessClient.connect, ("self", "request", "headers", "timeout_ms")),
    "process.send_input": (ProcessClient.send_input, ("self", "request", "headers", "timeout_ms")),
    "process.send_signal": (ProcessClient.send_signal, ("self", "request", "headers", "timeout_ms")),
    "handle_rpc_exception": (handle_rpc_exception, ("e", "error_map", "sandbox_running")),
    "authentication_header": (authentication_header, ("envd_version", "user")),
    "timeout_to_ms": (timeout_to_ms, ("timeout",)),
    "SandboxQuery": (SandboxQuery, ("metadata", "state", "started_after", "template")),
}  # fmt: skip
CONFIG = {"domain", "debug", "api_key", "api_url", "sandbox_url", "request_timeout", "extra_sandbox_headers"}
DETAIL = {"sandbox_id", "envd_version", "envd_access_token", "domain", "state", "started_at", "end_at", "metadata"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, E2BServer]]:
    templates = {"base": Size(2, 512), "large": Size(4, 4096), "wide": Size(8, 4096)}
    with open_server(Path(tmp_path_factory.mktemp("e2b")), templates=templates) as (rig, server):
        server.templates |= {name: (size.cpu, size.memory_mb) for name, size in templates.items()}
        server.templates["mine"] = (1, 256)
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, E2BServer]) -> Rig:
    return opened[0]


@pytest.fixture
def server(opened: tuple[Rig, E2BServer]) -> E2BServer:
    return opened[1]


def asked(rig: Rig, **changes: Any) -> dict[str, Any]:
    """What the create request said."""
    sandbox = create(rig, **changes)
    assert rig.engine is not None
    box = rig.engine.boxes[json.loads(sandbox.ref)["id"]]
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    request = box.settings["asked"]
    assert isinstance(request, dict)
    return request


@pytest.mark.parametrize("name", CALLS)
def test_the_client_has_the_calls_that_we_make(name: str) -> None:
    call, parameters = CALLS[name]
    assert tuple(inspect.signature(call).parameters) == parameters


def test_the_client_has_the_fields_that_we_use() -> None:
    assert inspect.signature(ConnectionConfig).parameters.keys() >= CONFIG
    assert inspect.signature(SandboxDetail).parameters.keys() >= DETAIL
    assert process_pb.StartRequest(process=process_pb.ProcessConfig(cmd="x", args=["y"], envs={"a": "b"}), stdin=False)


def test_a_spec_becomes_a_create_request(rig: Rig) -> None:
    request = asked(rig, env={"A": "b"}, labels={"session": "s1"}, lifetime_s=1201, idle_s=61)
    assert request["templateID"] == "base"
    assert request["envVars"] == {"A": "b"}
    assert request["metadata"] == {"session": "s1", "rlmweb": "1", "rlmweb-lifetime": "1201"}
    assert request["timeout"] == 1201
    assert request["autoPause"] is False
    assert request["network"]["allowPublicTraffic"] is False


@pytest.mark.parametrize(
    ("changes", "template"),
    [
        ({"cpu": 1.0, "memory_mb": 512}, "base"),
        ({"cpu": 1.0, "memory_mb": 513}, "large"),
        ({"cpu": 4.5, "memory_mb": 512}, "wide"),
        ({"image": "mine", "memory_mb": 100_000}, "mine"),
    ],
)
def test_the_smallest_template_that_is_large_enough_is_taken(rig: Rig, changes: dict[str, Any], template: str) -> None:
    assert asked(rig, **changes)["templateID"] == template


@pytest.mark.parametrize(
    ("policy", "access", "expected"),
    [
        (NetworkPolicy("blocked"), False, {}),
        (NetworkPolicy("blocked", ("a.org",)), False, {}),
        (NetworkPolicy("open"), True, {}),
        (NetworkPolicy("allowlist"), False, {}),
        (
            NetworkPolicy("allowlist", ("a.org", "*.b.org"), ("10.0.0.0/8",)),
            True,
            {"allowOut": ["a.org", "*.b.org", "10.0.0.0/8"], "denyOut": ["0.0.0.0/0"]},
        ),
    ],
)
def test_the_network_policy_reaches_the_wire(
    rig: Rig, policy: NetworkPolicy, access: bool, expected: dict[str, Any]
) -> None:
    request = asked(rig, network=policy)
    assert request["allow_internet_access"] is access
    assert request["network"] == {"allowPublicTraffic": False, **expected}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gpu": GpuRequest(("H100",))}, "gpu"),
        ({"region": "eu"}, "region"),
        ({"cpu": 9.0}, "cpu"),
        ({"memory_mb": 4097}, "memory_mb"),
        ({"image": "mine", "memory_mb": 0}, "memory_mb"),
        ({"image": "mine", "cpu": 0.0}, "cpu"),
        ({"image": "base", "memory_mb": 513}, "memory_mb"),
        ({"lifetime_s": 24 * 3600 + 1}, "lifetime_s"),
        ({"lifetime_s": 0}, "lifetime_s"),
        ({"network": NetworkPolicy("allowlist", ("a.org,b.org",))}, "network"),
        ({"network": NetworkPolicy("allowlist", (), ("::/0",))}, "network"),
    ],
)
def test_what_cannot_be_had_is_named(rig: Rig, changes: dict[str, Any], field: str) -> None:
    spec = replace(rig.spec, **changes)
    assert [problem.field for problem in rig.provider.validate(spec)] == [field]
    with pytest.raises(InvalidSpec):
        aio.run(rig.provider.create(spec, idempotency_key=key()), timeout_s=TIMEOUT_S)


def test_no_template_has_it_all() -> None:
    provider = E2BProvider(api_key="k", templates={"tall": (1, 8192), "wide": (8, 1024)})
    (problem,) = provider.validate(Spec(cpu=4, memory_mb=4096))
    assert "no template has 4 cores and 4096 MB together" in problem.message


def test_the_plan_has_its_own_longest_life() -> None:
    (problem,) = E2BProvider(api_key="k", max_lifetime_s=3600).validate(Spec(memory_mb=512, lifetime_s=3601))
    assert (problem.field, "3600 seconds" in problem.message) == ("lifetime_s", True)


def test_the_request_of_a_key_is_the_same_at_any_time() -> None:
    """A second call with the key and another body would be refused."""
    one, two = (create_arguments(Spec(labels={"a": "b"}), "Key 1/ä", public_ports=False) for _ in range(2))
    assert one == two
    assert len(one["idempotency_key"]) <= 255
    assert set(one["idempotency_key"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_an_hour_costs_what_the_template_has(rig: Rig) -> None:
    assert str(rig.provider.estimate(rig.spec).usd_per_hour) == "0.1089"
    unknown = rig.provider.estimate(replace(rig.spec, image="mine"))
    assert (unknown.usd_per_hour, "not known" in unknown.note) == (None, True)


def test_a_template_is_built_and_then_offered(rig: Rig, server: E2BServer) -> None:
    provider: Any = rig.provider
    id = aio.run(provider.build_template("huge", Size(8, 8192), image="python:3.12-slim"), timeout_s=TIMEOUT_S)
    request = server.builds[id]["request"]
    assert (request["name"], request["cpuCount"], request["memoryMB"]) == ("huge", 8, 8192)
    assert server.builds[id]["start"]["fromImage"] == "python:3.12-slim"
    assert asked(rig, memory_mb=8000)["templateID"] == "huge"


def test_a_template_that_cannot_be_built_says_why(rig: Rig, server: E2BServer) -> None:
    provider: Any = rig.provider
    server.build_error = "no such image"
    try:
        with pytest.raises(InvalidSpec, match="no such image"):
            aio.run(provider.build_template("never", Size(2, 1024)), timeout_s=TIMEOUT_S)
    finally:
        server.build_error = ""
    with pytest.raises(InvalidSpec, match="even number"):
        aio.run(provider.build_template("odd", Size(2, 1023)), timeout_s=TIMEOUT_S)
