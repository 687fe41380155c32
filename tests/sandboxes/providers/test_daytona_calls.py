"""Daytona: the calls that we make of its client, and a spec in the words of its create call."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaConfig,
    GpuType,
    SessionExecuteRequest,
)
from daytona._async.filesystem import AsyncFileSystem
from daytona._async.process import AsyncProcess
from daytona_api_client import CreateSandbox
from daytona_api_client_async import ApiKeysApi, CreateSandboxSnapshot, SandboxApi, SnapshotsApi

from sandboxes import aio
from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, Spec
from sandboxes.errors import InvalidSpec
from sandboxes.providers.daytona import DaytonaProvider
from sandboxes.providers.daytona.options import GPUS
from sandboxes.remote.sandbox import RemoteSandbox
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, key
from tests.wire.daytona.rig import open_server
from tests.wire.daytona.server import DaytonaServer
from tests.wire.rig import Rig

CALLS: dict[tuple[type, str], tuple[str, ...]] = {
    (AsyncDaytona, "create"): ("params", "timeout", "on_snapshot_create_logs"),
    (AsyncDaytona, "get"): ("sandbox_id_or_name", "request_timeout"),
    (AsyncDaytona, "close"): (),
    (AsyncSandbox, "refresh_data"): ("request_timeout",),
    (AsyncSandbox, "delete"): ("timeout", "wait"),
    (AsyncSandbox, "start"): ("timeout",),
    (AsyncSandbox, "stop"): ("timeout", "force"),
    (AsyncSandbox, "pause"): ("timeout",),
    (AsyncSandbox, "set_ttl"): ("ttl_minutes", "request_timeout"),
    (AsyncSandbox, "wait_for_sandbox_start"): ("timeout",),
    (AsyncSandbox, "create_signed_preview_url"): ("port", "expires_in_seconds", "request_timeout"),
    (AsyncProcess, "exec"): ("command", "cwd", "env", "timeout"),
    (AsyncProcess, "create_session"): ("session_id", "request_timeout"),
    (AsyncProcess, "execute_session_command"): ("session_id", "req", "timeout"),
    (AsyncProcess, "send_session_command_input"): ("session_id", "command_id", "data", "request_timeout"),
    (AsyncProcess, "get_session_command_logs_async"): ("session_id", "command_id", "on_stdout", "on_stderr"),
    (AsyncProcess, "delete_session"): ("session_id", "request_timeout"),
    (AsyncFileSystem, "upload_file"): ("src", "dst", "timeout"),
    (AsyncFileSystem, "download_file_stream"): ("remote_path", "timeout", "on_progress", "cancel_event"),
    (AsyncFileSystem, "get_file_info"): ("path", "request_timeout"),
}
RAW_CALLS: dict[tuple[type, str], set[str]] = {
    (SandboxApi, "create_sandbox_snapshot"): {"sandbox_id_or_name", "create_sandbox_snapshot", "_request_timeout"},
    (SandboxApi, "list_sandboxes"): {"labels", "cursor", "limit", "_request_timeout"},
    (SnapshotsApi, "get_snapshot"): {"id", "_request_timeout"},
    (SnapshotsApi, "remove_snapshot"): {"id", "_request_timeout"},
    (SnapshotsApi, "activate_snapshot"): {"id", "_request_timeout"},
    (ApiKeysApi, "get_current_api_key"): {"_request_timeout"},
}
FIELDS: dict[type[Any], set[str]] = {
    DaytonaConfig: {"api_key", "api_url", "target", "connection_pool_maxsize"},
    SessionExecuteRequest: {"command", "run_async", "suppress_input_echo"},
    CreateSandboxSnapshot: {"name", "include_memory"},
    CreateSandboxFromSnapshotParams: {"snapshot", "name", "env_vars", "labels", "public", "ttl_minutes", "target"},
    CreateSandboxFromImageParams: {
        "image", "resources", "ephemeral", "auto_stop_interval", "auto_pause_interval",
        "network_block_all", "network_allow_list", "domain_allow_list",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, DaytonaServer]]:
    with open_server(Path(tmp_path_factory.mktemp("daytona"))) as (rig, server):
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, DaytonaServer]) -> Rig:
    return opened[0]


def asked(rig: Rig, **changes: Any) -> CreateSandbox:
    """What the create request said."""
    sandbox = create(rig, **changes)
    assert rig.engine is not None
    box = rig.engine.boxes[json.loads(sandbox.ref)["id"]]
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    request = box.settings["asked"]
    assert isinstance(request, CreateSandbox)
    return request


@pytest.mark.parametrize(("of", "name"), CALLS)
def test_the_client_has_the_calls_that_we_make(of: type, name: str) -> None:
    assert tuple(inspect.signature(getattr(of, name)).parameters)[1:] == CALLS[of, name]


@pytest.mark.parametrize(("of", "name"), RAW_CALLS)
def test_the_generated_client_has_the_calls_that_we_make(of: type, name: str) -> None:
    assert inspect.signature(getattr(of, name)).parameters.keys() >= RAW_CALLS[of, name]


@pytest.mark.parametrize("of", FIELDS)
def test_the_models_have_the_fields_that_we_fill(of: type[Any]) -> None:
    assert of.model_fields.keys() >= FIELDS[of]


def test_every_gpu_is_one_that_the_client_knows() -> None:
    """It makes a placeholder of a name it does not know, and sends that."""
    assert set(GPUS) == {kind.value for kind in GpuType if kind is not GpuType.UNKNOWN_DEFAULT_OPEN_API}


def test_a_spec_becomes_a_container(rig: Rig) -> None:
    request = asked(
        rig,
        image="python:3.12-slim",
        cpu=1.5,
        memory_mb=1500,
        disk_mb=4097,
        env={"A": "b"},
        labels={"session": "s1"},
        region="eu",
        lifetime_s=1201,
        idle_s=61,
    )
    assert request.build_info is not None
    assert request.build_info.dockerfile_content == "FROM python:3.12-slim\n"
    assert (request.cpu, request.memory, request.disk, request.gpu) == (2, 2, 5, None)
    assert request.env == {"A": "b"}
    assert request.labels is not None
    assert {"session": "s1", "rlmweb": "1"}.items() <= request.labels.items()
    assert request.target == "eu"
    assert request.ttl_minutes == 21
    assert (request.auto_stop_interval, request.auto_pause_interval, request.auto_delete_interval) == (2, None, None)
    assert request.public is False


def test_gpus_go_in_order_of_preference_and_are_ephemeral(rig: Rig) -> None:
    request = asked(rig, gpu=GpuRequest(("H200", "RTX-PRO-6000"), 2))
    assert request.gpu == 2
    assert [kind.value for kind in request.gpu_type or ()] == ["H200", "RTX-PRO-6000"]
    assert request.auto_delete_interval == 0
    assert not request.auto_pause_interval


def test_a_stronger_wall_is_a_virtual_machine(rig: Rig) -> None:
    for isolation in (Isolation.GVISOR, Isolation.MICROVM):
        request = asked(rig, isolation_min=isolation, cpu=2.0, memory_mb=3000)
        assert request.snapshot == "daytona-vm-medium"
        assert (request.build_info, request.cpu, request.memory) == (None, None, None)
        assert (request.auto_stop_interval, request.auto_pause_interval) == (0, 5)


def test_no_vm_that_is_large_enough_is_said_before_anything_is_made(rig: Rig) -> None:
    assert rig.engine is not None
    before = rig.engine.created
    with pytest.raises(InvalidSpec, match="has 16 cores and 2 GiB"):
        create(rig, isolation_min=Isolation.MICROVM, cpu=16.0, memory_mb=2048)
    assert rig.engine.created == before


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (NetworkPolicy("blocked"), (True, None, None)),
        (NetworkPolicy("open"), (False, None, None)),
        (NetworkPolicy("allowlist"), (True, None, None)),
        (NetworkPolicy("allowlist", ("a.org", "*.b.org")), (False, None, "a.org,*.b.org")),
        (
            NetworkPolicy("allowlist", ("a.org",), ("10.0.0.0/8", "1.2.3.4/32")),
            (False, "10.0.0.0/8,1.2.3.4/32", "a.org"),
        ),
    ],
)
def test_the_network_policy_reaches_the_wire(rig: Rig, policy: NetworkPolicy, expected: tuple[Any, ...]) -> None:
    request = asked(rig, network=policy)
    assert (bool(request.network_block_all), request.network_allow_list, request.domain_allow_list) == expected


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"network": NetworkPolicy("allowlist", ("a.org,b.org",))}, "network"),
        ({"network": NetworkPolicy("allowlist", (), ("::/0",))}, "network"),
        ({"image": "python"}, "image"),
        ({"image": "host:5000/python:latest"}, "image"),
        ({"image": "python:3.12", "isolation_min": Isolation.MICROVM}, "image"),
        ({"gpu": GpuRequest(("T4",))}, "gpu"),
        ({"gpu": GpuRequest(())}, "gpu"),
        ({"gpu": GpuRequest(("H100",), 0)}, "gpu"),
        ({"gpu": GpuRequest(("H100",)), "isolation_min": Isolation.MICROVM}, "isolation_min"),
        ({"disk_mb": 10**7}, "disk_mb"),
        ({"lifetime_s": 30}, "lifetime_s"),
    ],
)
def test_what_it_cannot_do_is_said_by_field(rig: Rig, changes: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in rig.provider.validate(replace(rig.spec, **changes))] == [field]


@pytest.mark.parametrize("image", ["python:3.12", "host:5000/a/b:1", "python@sha256:0123", ""])
def test_images_with_a_fixed_tag_are_taken(rig: Rig, image: str) -> None:
    assert rig.provider.validate(replace(rig.spec, image=image)) == []


def test_nothing_is_read_from_the_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client looks there for what it was not given: the region and the organisation of somebody else."""
    monkeypatch.setenv("DAYTONA_TARGET", "eu")
    monkeypatch.setenv("DAYTONA_API_KEY", "another")
    monkeypatch.setenv("DAYTONA_JWT_TOKEN", "another")
    monkeypatch.setenv("DAYTONA_ORGANIZATION_ID", "another")
    assert rig.with_wrong_key is not None
    wrong: Any = rig.with_wrong_key()
    provider = DaytonaProvider(api_key=rig.secret, target="us", api_url=wrong._client._api_url)
    made = aio.run(provider.create(rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    assert isinstance(made, RemoteSandbox)
    assert rig.engine is not None
    request: Any = rig.engine.boxes[json.loads(made.ref)["id"]].settings["asked"]
    assert request.target == "us"
    assert provider._client.sdk._organization_id is None
    aio.run(made.terminate(), timeout_s=TIMEOUT_S)
    aio.run(provider.close(), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("missing", ["api_key", "target", "api_url"])
def test_what_the_client_would_look_for_elsewhere_is_required(missing: str) -> None:
    given: dict[str, Any] = {"api_key": "k", "target": "us", "api_url": "http://localhost", missing: ""}
    with pytest.raises(InvalidSpec, match=f"needs {missing}"):
        DaytonaProvider(**given)


def test_an_estimate_says_when_its_rates_were_seen(rig: Rig) -> None:
    spec = Spec(cpu=1.0, memory_mb=2048)
    estimate = rig.provider.estimate(spec)
    assert str(estimate.usd_per_hour) == "0.0828"
    assert estimate.as_of == "2026-05-25"
    assert str(rig.provider.estimate(replace(spec, cpu=0.2, disk_mb=7 * 1024)).usd_per_hour) == "0.0830"
    for unknown in (replace(spec, gpu=GpuRequest(("H100",))), replace(spec, isolation_min=Isolation.MICROVM)):
        assert rig.provider.estimate(unknown).usd_per_hour is None
        assert rig.provider.estimate(unknown).note
