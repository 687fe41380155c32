"""Runloop: the calls that we make of its client, and a spec in the words of its create call."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runloop_api_client import AsyncRunloop
from runloop_api_client.resources.blueprints import AsyncBlueprintsResource
from runloop_api_client.resources.devboxes import (
    AsyncDevboxesResource,
    AsyncDiskSnapshotsResource,
    AsyncExecutionsResource,
)
from runloop_api_client.resources.network_policies import AsyncNetworkPoliciesResource
from runloop_api_client.types import DevboxView
from runloop_api_client.types.devbox_create_params import DevboxCreateParams
from runloop_api_client.types.devboxes import ExecutionUpdateChunk
from runloop_api_client.types.shared_params import LaunchParameters

from sandboxes import aio
from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, Spec
from sandboxes.errors import InvalidSpec
from sandboxes.providers.runloop import RunloopProvider
from sandboxes.providers.runloop.devboxes import LIVE, STATES
from sandboxes.providers.runloop.options import READY, Size, choose
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, key
from tests.wire.rig import Rig
from tests.wire.runloop.models import SIZES
from tests.wire.runloop.rig import open_server
from tests.wire.runloop.server import RunloopServer

BOXES, RUNS, DISKS = AsyncDevboxesResource, AsyncExecutionsResource, AsyncDiskSnapshotsResource
COMMON = {"extra_headers", "extra_query", "extra_body", "timeout"}
CALLS: dict[tuple[type, str], set[str]] = {
    (BOXES, "create"): {
        "blueprint_id", "blueprint_name", "code_mounts", "entrypoint", "environment_variables", "file_mounts",
        "gateways", "launch_parameters", "mcp", "metadata", "mounts", "name", "secrets", "snapshot_id", "tunnel",
        "idempotency_key",
    },
    (BOXES, "retrieve"): {"id"},
    (BOXES, "list"): {"include_total_count", "limit", "starting_after", "status"},
    (BOXES, "shutdown"): {"id", "force", "idempotency_key"},
    (BOXES, "suspend"): {"id", "idempotency_key"},
    (BOXES, "resume"): {"id", "idempotency_key"},
    (BOXES, "keep_alive"): {"id", "idempotency_key"},
    (BOXES, "enable_tunnel"): {"id", "auth_mode", "http_keep_alive", "wake_on_http", "idempotency_key"},
    (BOXES, "execute"): {"id", "command", "command_id", "last_n", "optimistic_timeout", "idempotency_key"},
    (BOXES, "wait_for_command"): {
        "execution_id", "devbox_id", "statuses", "last_n", "timeout_seconds", "idempotency_key"
    },
    (BOXES, "execute_async"): {"id", "command", "attach_stdin", "idempotency_key"},
    (BOXES, "upload_file"): {"id", "path", "file", "idempotency_key"},
    (BOXES, "download_file"): {"id", "path", "idempotency_key"},
    (BOXES, "snapshot_disk_async"): {"id", "commit_message", "metadata", "name", "idempotency_key"},
    (RUNS, "send_std_in"): {"execution_id", "devbox_id", "signal", "text", "idempotency_key"},
    (RUNS, "stream_stdout_updates"): {"execution_id", "devbox_id", "offset"},
    (RUNS, "kill"): {"execution_id", "devbox_id", "kill_process_group", "idempotency_key"},
    (DISKS, "query_status"): {"id"},
    (DISKS, "delete"): {"id", "idempotency_key"},
    (DISKS, "list"): {
        "devbox_id", "include_total_count", "limit", "metadata_key", "metadata_key_in", "source_blueprint_id",
        "starting_after",
    },
    (AsyncBlueprintsResource, "create"): {
        "name", "base_blueprint_id", "base_blueprint_name", "build_args", "build_context", "code_mounts", "dockerfile",
        "file_mounts", "launch_parameters", "metadata", "network_policy_id", "secrets", "services",
        "system_setup_commands", "idempotency_key",
    },
    (AsyncBlueprintsResource, "retrieve"): {"id"},
    (AsyncNetworkPoliciesResource, "create"): {
        "name", "allow_agent_gateway", "allow_all", "allow_devbox_to_devbox", "allow_mcp_gateway",
        "allow_runloop_mirrors", "allowed_cidrs", "allowed_hostnames", "description", "idempotency_key",
    },
    (AsyncNetworkPoliciesResource, "list"): {"id", "include_total_count", "limit", "name", "search", "starting_after"},
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, RunloopServer]]:
    with open_server(Path(tmp_path_factory.mktemp("runloop"))) as (rig, server):
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, RunloopServer]) -> Rig:
    return opened[0]


@pytest.fixture
def server(opened: tuple[Rig, RunloopServer]) -> RunloopServer:
    return opened[1]


def asked(rig: Rig, server: RunloopServer, **changes: Any) -> dict[str, Any]:
    """What the create request said."""
    sandbox = create(rig, **changes)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    return server.created[-1]


# The client -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of", "name"), CALLS)
def test_the_client_has_the_calls_that_we_make(of: type, name: str) -> None:
    found = set(inspect.signature(getattr(of, name)).parameters) - {"self"}
    assert found == CALLS[of, name] | COMMON


def test_the_client_is_made_of_what_we_give_it() -> None:
    parameters = inspect.signature(AsyncRunloop.__init__).parameters
    assert parameters.keys() >= {"bearer_token", "base_url", "http_client", "max_retries", "timeout"}


def test_its_types_have_the_fields_that_we_use() -> None:
    assert LaunchParameters.__annotations__.keys() >= {
        "resource_size_request", "custom_cpu_cores", "custom_gb_memory", "custom_disk_size", "keep_alive_time_seconds",
        "lifecycle", "network_policy_id",
    }  # fmt: skip
    assert DevboxCreateParams.__annotations__.keys() >= {"snapshot_id", "blueprint_id", "blueprint_name", "metadata"}
    assert set(ExecutionUpdateChunk.model_fields) == {"output", "offset"}
    assert DevboxView.model_fields.keys() >= {"status", "failure_reason", "shutdown_reason", "tunnel", "create_time_ms"}


def test_every_state_of_a_devbox_is_known() -> None:
    states = set(DevboxView.model_fields["status"].annotation.__args__)  # type: ignore[union-attr]
    assert set(STATES) == states
    assert set(LIVE) == states - {"failure", "shutdown"}


def test_there_is_no_gpu_in_the_api() -> None:
    """Advertised, and in no field: when there is one, the adapter can offer it."""
    fields = {*LaunchParameters.__annotations__, *DevboxCreateParams.__annotations__, *DevboxView.model_fields}
    assert not [name for name in fields if "gpu" in name.lower()]


# What a spec becomes --------------------------------------------------------------------------------------------------


def test_a_spec_becomes_a_devbox(rig: Rig, server: RunloopServer) -> None:
    body = asked(
        rig,
        server,
        cpu=1.5,
        memory_mb=6000,
        disk_mb=20_000,
        env={"A": "b"},
        labels={"session": "s1"},
        lifetime_s=1201,
        idle_s=61,
    )
    policy = body["launch_parameters"].pop("network_policy_id")
    assert policy in server.account.policies
    assert body["launch_parameters"] == {
        "resource_size_request": "CUSTOM_SIZE",
        "custom_cpu_cores": 2.0,
        "custom_gb_memory": 6,
        "custom_disk_size": 20,
        "keep_alive_time_seconds": 1201,
    }
    assert body["environment_variables"] == {"A": "b"}
    assert body["metadata"] == {"session": "s1", "rlmweb": "1"}
    assert not {"blueprint_id", "blueprint_name", "snapshot_id"} & body.keys()


@pytest.mark.parametrize(
    ("asked_for", "size"),
    [
        ((0.1, 1, 1), Size(0.5, 1, 4, "X_SMALL")),
        ((1.0, 2048, 512), Size(1.0, 2, 4, "SMALL")),
        ((1.0, 1024, 4096), Size(1.0, 2, 4, "SMALL")),  # a core has 2 GiB at least
        ((1.0, 1024, 4097), Size(1.0, 2, 6)),
        ((0.5, 3000, 0), Size(0.5, 4, 2)),
        ((0.5, 5000, 0), Size(1.0, 6, 2)),  # and 8 GiB at most
        ((2.0, 4096, 8192), Size(2.0, 4, 8, "MEDIUM")),
        ((2.1, 4096, 0), Size(4.0, 8, 2)),
        ((8.0, 32 * 1024, 0), Size(8.0, 32, 16, "XX_LARGE")),
        ((16.0, 1, 0), Size(16.0, 32, 2)),
        ((1.0, 64 * 1024, 65_536), Size(8.0, 64, 64)),
        ((16.1, 1, 0), None),
        ((1.0, 65_537, 0), None),
        ((1.0, 1, 65_537), None),
    ],
)
def test_a_size_is_the_cheapest_that_is_large_enough(asked_for: tuple[float, int, int], size: Size | None) -> None:
    assert choose(*asked_for) == size


def test_ready_sizes_are_those_of_the_vendor() -> None:
    assert {size.name: (size.cpu, size.memory_gb) for size in READY} == SIZES


def test_an_idle_policy_takes_the_place_of_the_length(tmp_path: Path) -> None:
    """With both, the length is ignored or the request refused."""
    with open_server(tmp_path, on_idle="suspend") as (rig, server):
        launch = asked(rig, server, lifetime_s=1201, idle_s=61)["launch_parameters"]
        assert launch["lifecycle"] == {"after_idle": {"idle_time_seconds": 61, "on_idle": "suspend"}}
        assert "keep_alive_time_seconds" not in launch
        sandbox = create(rig)
        assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).expires_at is None
        aio.run(sandbox.extend(60), timeout_s=TIMEOUT_S)
        assert server.kept_alive == [json.loads(sandbox.ref)["id"]]
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


NOTHING: dict[str, Any] = {
    "allow_all": False,
    "allow_agent_gateway": False,
    "allow_devbox_to_devbox": False,
    "allow_mcp_gateway": False,
    "allow_runloop_mirrors": False,
    "allowed_cidrs": [],
    "allowed_hostnames": [],
}
EVERYTHING = {**NOTHING, "allow_all": True, "allow_devbox_to_devbox": True, "allow_runloop_mirrors": True}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (NetworkPolicy("blocked", ("a.org",), ("10.0.0.0/8",)), NOTHING),
        (NetworkPolicy("allowlist"), NOTHING),
        (NetworkPolicy("open"), EVERYTHING),
        (
            NetworkPolicy("allowlist", ("b.org", "*.a.org"), ("10.1.2.3/8", "1.2.3.4/32")),
            {
                **NOTHING,
                "allowed_hostnames": ["*.a.org", "b.org"],
                "allowed_cidrs": [{"cidr": "1.2.3.4/32"}, {"cidr": "10.0.0.0/8"}],
            },
        ),
    ],
)
def test_the_network_policy_reaches_the_wire(
    rig: Rig, server: RunloopServer, policy: NetworkPolicy, expected: dict[str, Any]
) -> None:
    body = asked(rig, server, network=policy)
    found = server.account.policies[body["launch_parameters"]["network_policy_id"]]
    assert found.egress.model_dump(exclude_none=True) == expected
    assert found.name.startswith("rlmweb-")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gpu": GpuRequest(("H100",))}, "gpu"),
        ({"region": "us"}, "region"),
        ({"image": "python:3.12"}, "image"),
        ({"image": "host/python"}, "image"),
        ({"cpu": 17.0}, "cpu"),
        ({"memory_mb": 65_537}, "memory_mb"),
        ({"disk_mb": 65_537}, "disk_mb"),
        ({"lifetime_s": 0}, "lifetime_s"),
        ({"lifetime_s": 48 * 3600 + 1}, "lifetime_s"),
        ({"network": NetworkPolicy("allowlist", ("a.org,b.org",))}, "network"),
        ({"network": NetworkPolicy("allowlist", (), ("::/0",))}, "network"),
    ],
)
def test_what_it_cannot_do_is_said_by_field(rig: Rig, changes: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in rig.provider.validate(replace(rig.spec, **changes))] == [field]


def test_the_strongest_isolation_and_two_days_can_be_had(rig: Rig) -> None:
    spec = replace(rig.spec, isolation_min=Isolation.MICROVM, lifetime_s=48 * 3600, cpu=16.0, memory_mb=65_536)
    assert rig.provider.validate(spec) == []


def test_an_estimate_says_when_its_rates_were_seen(rig: Rig) -> None:
    estimate = rig.provider.estimate(Spec(cpu=1.0, memory_mb=2048))
    assert (str(estimate.usd_per_hour), estimate.as_of) == ("0.1584", "2026-05-25")
    assert "SMALL" in estimate.note
    assert rig.provider.estimate(Spec(cpu=99.0)).usd_per_hour is None


# Keys and addresses ---------------------------------------------------------------------------------------------------


def test_nothing_is_read_from_the_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client looks there for what it was not given."""
    monkeypatch.setenv("RUNLOOP_API_KEY", "another")
    monkeypatch.setenv("RUNLOOP_BASE_URL", "http://127.0.0.1:9")
    assert rig.with_wrong_key is not None
    wrong: Any = rig.with_wrong_key()
    provider = RunloopProvider(api_key=rig.secret, api_url=wrong._client.api_url, poll_s=0.02)
    made = aio.run(provider.create(rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    aio.run(made.terminate(), timeout_s=TIMEOUT_S)
    aio.run(provider.close(), timeout_s=TIMEOUT_S)


def test_headers_of_somebody_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would send them with every call, an `Authorization` among them in place of ours."""
    monkeypatch.setenv("RUNLOOP_CUSTOM_HEADERS", "Authorization: Bearer another")
    with pytest.raises(InvalidSpec, match="RUNLOOP_CUSTOM_HEADERS"):
        RunloopProvider(api_key="k")


@pytest.mark.parametrize("missing", ["api_key", "api_url"])
def test_what_the_client_would_look_for_elsewhere_is_required(missing: str) -> None:
    given: dict[str, Any] = {"api_key": "k", "api_url": "http://localhost", missing: ""}
    with pytest.raises(InvalidSpec, match=f"needs {missing}"):
        RunloopProvider(**given)


def test_an_unknown_idle_action_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="on_idle"):
        RunloopProvider(api_key="k", on_idle="sleep")
