"""Northflank: what reaches the wire, and the traps of its client."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from northflank import AsyncApiClient

from sandboxes import aio
from sandboxes.contract import GpuRequest, NetworkPolicy
from sandboxes.errors import InvalidSpec
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of
from tests.wire.rig import Rig, open_rig

CALLS = {
    "create.service.deployment": ("project_id", "team_id", "data"),
    "create.container_snapshot": ("project_id", "service_id", "team_id", "data"),
    "create.network_policy": ("team_id", "data"),
    "delete.container_snapshot": ("snapshot_id", "team_id"),
    "get.container_snapshot": ("snapshot_id", "team_id"),
    "get.project": ("project_id", "team_id"),
    "get.service": ("project_id", "service_id", "team_id"),
    "delete.service": ("project_id", "service_id", "team_id", "delete_child_objects"),
    "list.plans": (),
    "list.services.all": ("project_id", "team_id", "cursor", "page", "per_page"),
    "pause.service": ("project_id", "service_id", "team_id"),
    "resume.service": ("project_id", "service_id", "team_id", "data"),
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with open_rig("northflank", Path(tmp_path_factory.mktemp("northflank"))) as rig:
        yield rig


def asked(rig: Rig, **changes: Any) -> dict[str, Any]:
    """What the create request said."""
    sandbox = create(rig, **changes)
    assert rig.engine is not None
    box = rig.engine.boxes[json.loads(sandbox.ref)["id"]]
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    return dict(box.settings)


@pytest.mark.parametrize(("name", "parameters"), CALLS.items())
def test_the_client_has_the_calls_that_we_make(name: str, parameters: tuple[str, ...]) -> None:
    call: Any = AsyncApiClient(api_token="x")
    for part in name.split("."):
        call = getattr(call, part)
    assert tuple(inspect.signature(call).parameters) == parameters


def test_exec_sessions_open_as_we_open_them() -> None:
    parameters = inspect.signature(AsyncApiClient(api_token="x").exec.aopen_session).parameters
    assert {"project_id", "resource_id", "command", "shell", "tty", "open_timeout"} <= parameters.keys()


def test_a_spec_becomes_a_service(rig: Rig) -> None:
    data = asked(
        rig,
        image="python:3.12",
        cpu=0.9,
        memory_mb=1500,
        disk_mb=4096,
        env={"A": "b"},
        labels={"session": "s1"},
        lifetime_s=1234,
        gpu=GpuRequest(("H100",), 2),
    )
    assert data["billing"]["deploymentPlan"] == "nf-compute-100-2"
    assert data["billing"]["gpu"] == {"enabled": True, "configuration": {"gpuType": "h100", "gpuCount": 2}}
    assert data["deployment"]["external"] == {"imagePath": "python:3.12"}
    assert data["deployment"]["storage"] == {"ephemeralStorage": {"storageSize": 4096}}
    assert data["runtimeEnvironment"] == {"A": "b"}
    assert json.loads(data["description"]) == {"rlmweb": {"session": "s1"}}
    assert data["createOptions"] == {"expiryTime": 1234}
    assert data["tags"] == ["rlmweb", "rlmweb-blocked"]


def test_an_open_network_has_no_policy(rig: Rig) -> None:
    assert asked(rig, network=NetworkPolicy("open"))["tags"] == ["rlmweb"]


def test_no_plan_that_is_large_enough_is_said_before_anything_is_made(rig: Rig) -> None:
    assert rig.engine is not None
    before = rig.engine.created
    with pytest.raises(InvalidSpec, match="no plan at Northflank has 60 cores and 100000 MB"):
        create(rig, cpu=60.0, memory_mb=100_000)
    assert rig.engine.created == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"network": NetworkPolicy("allowlist", ("example.org",))}, "network"),
        ({"region": "eu"}, "region"),
        ({"gpu": GpuRequest(("T4",))}, "gpu"),
    ],
)
def test_what_it_cannot_do_is_said_by_field(rig: Rig, changes: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in rig.provider.validate(replace(rig.spec, **changes))] == [field]


def test_a_dropped_session_in_the_middle_of_a_snapshot_is_found_again(rig: Rig) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    host = host_of(sandbox)
    host.run("x = 41")
    rig.faults.drop_streams_at_snapshot = True
    try:
        aio.run(sandbox.snapshot("fs"), timeout_s=TIMEOUT_S)
    finally:
        rig.faults.drop_streams_at_snapshot = False
    assert host.run("print(x + 1)") == "42\n"
    host.close()


def test_an_estimate_says_when_its_rates_were_seen(rig: Rig) -> None:
    estimate = rig.provider.estimate(replace(rig.spec, cpu=1.0, memory_mb=2048))
    assert str(estimate.usd_per_hour) == "0.0333"
    assert (estimate.as_of, estimate.source) == ("2026-06-24", "northflank.com/blog")
    assert rig.provider.estimate(replace(rig.spec, gpu=GpuRequest(("H100",)))).usd_per_hour is None
