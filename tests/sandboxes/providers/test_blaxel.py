"""Blaxel: what reaches the wire, and the traps of its interfaces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandboxes import aio
from sandboxes.contract import (
    GpuRequest,
    NetworkPolicy,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxState,
    SnapshotInfo,
    SnapshotKind,
    Stability,
)
from sandboxes.errors import (
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
    SnapshotIncompatible,
    StreamLost,
    Unsupported,
)
from sandboxes.providers.blaxel.client import BlaxelClient
from sandboxes.providers.blaxel.errors import Refusal
from sandboxes.providers.blaxel.options import name_of
from sandboxes.providers.blaxel.stream import ProcessStream
from sandboxes.remote.sandbox import RemoteSandbox
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.blaxel.rig import open_server, provider_of, rig_of
from tests.wire.blaxel.server import BlaxelServer
from tests.wire.faults import Fault
from tests.wire.rig import Rig

CALLS = [
    "DELETE /sbx/{sandbox}/filesystem/{path:path}",
    "DELETE /sbx/{sandbox}/process/{name}/kill",
    "DELETE /v0/sandboxes/{id}",
    "DELETE /v0/snapshots/{snapshot}",
    "GET /sbx/{sandbox}/filesystem/{path:path}",
    "GET /sbx/{sandbox}/health",
    "GET /sbx/{sandbox}/process/{name}/logs/stream",
    "GET /v0/sandboxes",
    "GET /v0/sandboxes/{id}",
    "GET /v0/snapshots/{snapshot}",
    "POST /sbx/{sandbox}/filesystem-multipart/initiate/{path:path}",
    "POST /sbx/{sandbox}/filesystem-multipart/{id}/complete",
    "POST /sbx/{sandbox}/process",
    "POST /sbx/{sandbox}/process/{name}/stdin",
    "POST /sbx/{sandbox}/stop",
    "POST /v0/sandboxes",
    "POST /v0/sandboxes/{id}/snapshots",
    "POST /v0/snapshots/{snapshot}/fork",
    "PUT /sbx/{sandbox}/filesystem-multipart/{id}/part",
    "PUT /sbx/{sandbox}/filesystem/{path:path}",
    "PUT /v0/sandboxes/{id}",
]
"""Every request of a whole life, as they were compared with the SDK 0.4.24: there is no SDK here whose signatures could
drift, so a new request has to be written down, and compared, first."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlaxelServer]:
    with open_server(Path(tmp_path_factory.mktemp("blaxel"))) as server:
        yield server
        server.engine.close()


@pytest.fixture
def rig(server: BlaxelServer) -> Iterator[Rig]:
    rig = rig_of(server)
    yield rig
    aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)


@pytest.fixture
def guarded(server: BlaxelServer) -> Iterator[Provider]:
    """Without snapshots, and so with a firewall."""
    provider = provider_of(server, snapshots=False)
    yield provider
    aio.run(provider.close(), timeout_s=TIMEOUT_S)


@pytest.fixture
def old_images(server: BlaxelServer) -> Iterator[None]:
    server.inside.old_images = True
    yield
    server.inside.old_images = False


def name(ref: str) -> str:
    return str(json.loads(ref)["id"])


def sh(sandbox: Sandbox, line: str) -> bytes:
    return aio.run(sandbox.exec(["sh", "-c", line], timeout_s=30), timeout_s=TIMEOUT_S).stdout


def asked(server: BlaxelServer, provider: Provider, rig: Rig, **changes: Any) -> dict[str, Any]:
    """What the create request said."""
    sandbox = aio.run(provider.create(replace(rig.spec, **changes), idempotency_key=key()), timeout_s=TIMEOUT_S)
    box = server.engine.boxes[name(sandbox.ref)]
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    return dict(box.settings)


def take(sandbox: Sandbox, kind: SnapshotKind = "fs") -> SnapshotInfo:
    return aio.run(sandbox.snapshot(kind, label="Step 1"), timeout_s=TIMEOUT_S)


def fork(rig: Rig, info: SnapshotInfo, **changes: Any) -> Sandbox:
    spec = replace(rig.spec, **changes)
    (made,) = aio.run(rig.provider.restore(info.ref, spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    assert not isinstance(made, SandboxError)
    return made


# What is asked for ------------------------------------------------------------------------------------------------------


def test_a_spec_becomes_a_sandbox(server: BlaxelServer, rig: Rig) -> None:
    data = asked(
        server,
        rig.provider,
        rig,
        image="acme/torch:2",
        cpu=2.0,
        memory_mb=3000,
        region="eu-lon-1",
        env={"A": "b"},
        labels={"session": "s1", "node": "n1"},
        lifetime_s=7200,
        idle_s=900,
    )
    assert data["metadata"]["labels"] == {"session": "s1", "node": "n1", "rlmweb": "1"}
    runtime = {"image": "acme/torch:2", "memory": 4096, "envs": [{"name": "A", "value": "b"}], "ports": []}
    assert data["spec"] == {
        "runtime": runtime,
        "region": "eu-lon-1",
        "lifecycle": {
            "expirationPolicies": [
                {"type": "ttl-max-age", "value": "7200s", "action": "delete"},
                {"type": "ttl-idle", "value": "900s", "action": "delete"},
            ]
        },
    }


@pytest.mark.parametrize(
    ("policy", "domains"),
    [
        (NetworkPolicy("blocked"), ["nothing.invalid"]),
        (NetworkPolicy("allowlist", ("pypi.org", "*.example.org")), ["pypi.org", "*.example.org"]),
        (NetworkPolicy("allowlist"), ["nothing.invalid"]),
    ],
)
def test_a_network_policy_is_enforced_by_the_firewall(
    server: BlaxelServer, guarded: Provider, rig: Rig, policy: NetworkPolicy, domains: list[str]
) -> None:
    network = asked(server, guarded, rig, network=policy)["spec"]["network"]
    assert network == {"proxy": {"routing": [], "allowedDomains": domains}, "firewall": {"rulesets": ["proxy"]}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gpu": GpuRequest(("H100",))}, "gpu"),
        ({"region": "mars-1"}, "region"),
        ({"lifetime_s": 299}, "lifetime_s"),
        ({"idle_s": 59}, "idle_s"),
        ({"network": NetworkPolicy("blocked")}, "network"),
        ({"network": NetworkPolicy("allowlist", ("example.org",))}, "network"),
    ],
)
def test_what_it_cannot_do_is_said_by_field(rig: Rig, changes: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in rig.provider.validate(replace(rig.spec, **changes))] == [field]


def test_address_ranges_are_no_domains(rig: Rig, guarded: Provider) -> None:
    spec = replace(rig.spec, network=NetworkPolicy("allowlist", cidrs=("10.0.0.0/8",)))
    assert [problem.field for problem in guarded.validate(spec)] == ["network"]


def test_snapshots_are_a_preview_that_a_workspace_has_or_not(server: BlaxelServer, rig: Rig, guarded: Provider) -> None:
    for capability in ("fs_snapshot", "memory_snapshot"):
        assert rig.provider.capabilities()[capability].value is True
        assert rig.provider.capabilities()[capability].stability is Stability.PREVIEW
        assert guarded.capabilities()[capability].value is False
    sandbox = aio.run(guarded.create(rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    with pytest.raises(Unsupported):
        take(sandbox)


def test_names_are_what_blaxel_takes() -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name_of("Ä session / step 7"))
    assert len(name_of("x" * 1000)) <= 49


def test_an_estimate_counts_the_memory_that_cores_bring(rig: Rig) -> None:
    estimate = rig.provider.estimate(replace(rig.spec, cpu=1.0, memory_mb=512))
    assert estimate.usd_per_hour == Decimal("0.0828")
    assert (estimate.as_of, bool(estimate.source)) == ("2026-07-01", True)


# Lines to the runner ----------------------------------------------------------------------------------------------------


def test_a_stream_has_no_deadline_and_keeps_nothing_awake(server: BlaxelServer, rig: Rig) -> None:
    host_of(create(rig)).close()
    lines = [body for body in server.inside.started if body.get("stdin")]
    assert lines
    assert {(body["timeout"], body["keepAlive"]) for body in lines} == {(0, False)}


@pytest.mark.parametrize("fault", [Fault(503), Fault(kind="lose_reply"), Fault(kind="reset"), Fault(409)])
def test_input_is_never_written_twice(rig: Rig, fault: Fault) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    stream = aio.run(sandbox.machine.open_stream(["cat"]), timeout_s=TIMEOUT_S)
    rig.faults.add("stdin", fault)
    before = rig.faults.seen.count("stdin")
    with pytest.raises(StreamLost):
        aio.run(stream.send(b"line\n"), timeout_s=TIMEOUT_S)
    assert rig.faults.seen.count("stdin") == before + 1
    aio.run(stream.close(), timeout_s=TIMEOUT_S)


def test_input_that_the_gateway_did_not_deliver_is_not_repeated_either(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    stream = aio.run(sandbox.machine.open_stream(["cat"]), timeout_s=TIMEOUT_S)
    server.inside.undelivered = 1
    with pytest.raises(StreamLost):
        aio.run(stream.send(b"line\n"), timeout_s=TIMEOUT_S)
    assert server.inside.undelivered == 0
    aio.run(stream.close(), timeout_s=TIMEOUT_S)


def test_a_session_outlives_input_whose_fate_is_unknown(rig: Rig) -> None:
    assert rig.faults is not None
    host = host_of(create(rig))
    host.run("x = 0")
    rig.faults.add("stdin", Fault(kind="lose_reply"))
    assert host.run("x += 1\nprint(x)") == "1\n"
    assert host.run("x += 1\nprint(x)") == "2\n"
    host.close()


def test_a_stream_that_cannot_be_opened_leaves_no_process(rig: Rig) -> None:
    assert rig.faults is not None
    assert rig.engine is not None
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    rig.faults.add("stream", Fault(500))
    with pytest.raises(ProviderUnavailable):
        aio.run(sandbox.machine.open_stream(["cat"]), timeout_s=TIMEOUT_S)
    (process,) = rig.engine.boxes[name(sandbox.ref)].processes.values()
    assert process.popen.wait(10) != 0


@pytest.mark.usefixtures("old_images")
def test_images_without_standard_input_get_a_pipe(server: BlaxelServer, rig: Rig) -> None:
    server.calls.clear()
    host = host_of(create(rig))
    text = "ä" * 150_000
    assert host.run(f"t = {text!r}\nprint(len(t))") == "150000\n"
    assert host.run("print(t)") == text + "\n"
    assert host.run("for i in range(2000): print(i)") == "".join(f"{number}\n" for number in range(2000))
    assert host.run("print(llm_query('what?'))", {"what?": "that"}) == "that\n"
    assert rig.faults is not None
    rig.faults.drop_streams()
    assert host.run("print(len(t))") == "150000\n"
    assert "POST /sbx/{sandbox}/process/{name}/stdin" not in server.calls
    host.close()


@pytest.mark.usefixtures("old_images")
def test_a_pipe_that_cannot_be_written_is_a_lost_stream(rig: Rig) -> None:
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    stream = aio.run(sandbox.machine.open_stream(["cat"]), timeout_s=TIMEOUT_S)
    assert isinstance(stream, ProcessStream)
    sh(sandbox, f"while [ ! -p {stream.pipe} ]; do sleep 0.05; done; rm {stream.pipe}; mkdir {stream.pipe}")
    with pytest.raises(StreamLost):
        aio.run(stream.send(b"1 eA==\n"), timeout_s=TIMEOUT_S)
    aio.run(stream.close(), timeout_s=TIMEOUT_S)


# Commands and files -----------------------------------------------------------------------------------------------------


def test_a_command_whose_answer_is_lost_is_found_by_its_name_and_runs_once(rig: Rig) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    sh(sandbox, "true")
    rig.faults.add("exec", Fault(kind="lose_reply"))
    assert sh(sandbox, "echo once >> file; cat file") == b"once\n"


def test_a_command_that_never_arrived_says_so(rig: Rig) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    sh(sandbox, "true")
    rig.faults.add("exec", Fault(kind="reset"))
    with pytest.raises(ProviderUnavailable, match="not started"):
        sh(sandbox, "true")


def test_what_the_gateway_did_not_deliver_is_sent_again(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig)
    server.inside.undelivered = 2
    aio.run(sandbox.write_file("file", b"here"), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.read_file("file", max_bytes=10), timeout_s=TIMEOUT_S) == b"here"


def test_output_beyond_what_results_hold_leaves_nothing_behind(rig: Rig) -> None:
    sandbox = create(rig)
    done = aio.run(
        sandbox.exec(["head", "-c", "300000", "/dev/zero"], timeout_s=30, max_output_bytes=1 << 20),
        timeout_s=TIMEOUT_S,
    )
    assert len(done.stdout) == 300_000
    assert sh(sandbox, "ls /tmp | grep -v $(ls -t /tmp | head -1) | wc -l").strip() == b"0"


def test_a_sandbox_that_somebody_else_made_takes_commands(rig: Rig, server: BlaxelServer) -> None:
    sandbox = create(rig)
    again = aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    assert sh(again, "echo here") == b"here\n"


def test_an_image_without_python_is_said_to_be_one(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    sandbox.machine.python = ("no-such-python",)
    with pytest.raises(SandboxError, match="no-such-python"):
        sh(sandbox, "true")


# Life -------------------------------------------------------------------------------------------------------------------


def test_it_sleeps_and_wakes(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    assert server.inside.stops[-1] == name(sandbox.ref)
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).state is SandboxState.PAUSED
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).state is SandboxState.RUNNING


def test_lists_have_pages(server: BlaxelServer, rig: Rig) -> None:
    label = key()
    refs = {create(rig, labels={"session": label}).ref for _ in range(5)}
    server.page_size = 2
    try:
        found = aio.run(rig.provider.list({"session": label, "rlmweb": "1"}), timeout_s=TIMEOUT_S)
    finally:
        server.page_size = 50
    assert {info.ref for info in found} == refs


def test_a_longer_life_keeps_the_other_limits(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig, labels={"session": "s"})
    aio.run(sandbox.extend(400), timeout_s=TIMEOUT_S)
    box = server.engine.boxes[name(sandbox.ref)]
    settings: Any = box.settings
    policies = settings["spec"]["lifecycle"]["expirationPolicies"]
    assert [(policy["type"], policy["value"]) for policy in policies] == [
        ("ttl-max-age", "1000s"),
        ("ttl-idle", "300s"),
    ]
    assert box.labels == {"session": "s", "rlmweb": "1"}


def test_a_reference_into_another_workspace_is_not_found(rig: Rig) -> None:
    other = SandboxRef(json.dumps({"provider": "blaxel", "workspace": "other", "id": "rlm-1"}))
    with pytest.raises(SandboxError) as caught:
        aio.run(rig.provider.get(other), timeout_s=TIMEOUT_S)
    assert type(caught.value).__name__ == "NotFound"


# Snapshots --------------------------------------------------------------------------------------------------------------


def test_a_fork_has_its_own_labels_variables_and_limits(server: BlaxelServer, rig: Rig) -> None:
    parent = create(rig, env={"A": "old", "B": "kept"}, labels={"node": "parent"})
    child = fork(rig, take(parent), env={"A": "new"}, labels={"node": "child"}, lifetime_s=900)
    assert server.forks[-1] == {
        "targetName": name(child.ref),
        "targetType": "sandbox",
        "envs": [{"name": "A", "value": "new"}],
        "lifecycle": {
            "expirationPolicies": [
                {"type": "ttl-max-age", "value": "900s", "action": "delete"},
                {"type": "ttl-idle", "value": "300s", "action": "delete"},
            ]
        },
    }
    assert sh(child, "printf '%s %s' $A $B") == b"new kept"
    assert aio.run(child.info(), timeout_s=TIMEOUT_S).labels == {"node": "child", "rlmweb": "1"}


def test_a_fork_whose_maker_died_is_found_by_the_reaper(server: BlaxelServer, rig: Rig) -> None:
    assert rig.faults is not None
    info = take(create(rig))
    rig.faults.add("write", Fault(500))
    (failed,) = aio.run(rig.provider.restore(info.ref, rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    assert isinstance(failed, ProviderUnavailable)
    orphan = server.forks[-1]["targetName"]
    assert orphan in {name(info.ref) for info in aio.run(rig.provider.list({"rlmweb": "1"}), timeout_s=TIMEOUT_S)}


def test_a_lost_answer_to_a_fork_leaves_one(server: BlaxelServer, rig: Rig) -> None:
    assert rig.faults is not None
    info = take(create(rig))
    before = len(server.engine.alive())
    rig.faults.add("restore", Fault(kind="lose_reply"))
    fork(rig, info)
    assert len(server.engine.alive()) == before + 1


@pytest.mark.parametrize(("kind", "swept"), [("fs", True), ("memory", False)])
def test_who_asks_for_files_gets_no_running_runner(
    server: BlaxelServer, rig: Rig, kind: SnapshotKind, swept: bool
) -> None:
    info = take(create(rig), kind)
    assert info.kind == kind
    count = len(server.inside.started)
    fork(rig, info)
    assert any("/proc" in body["command"] for body in server.inside.started[count:]) is swept


def test_a_runner_in_a_copy_is_ended_and_nothing_else(rig: Rig) -> None:
    """Copies of the engine have no processes, so the parent's own are swept here."""
    sandbox = create(rig)
    assert isinstance(sandbox, RemoteSandbox)
    host = host_of(sandbox)
    host.run("x = 1")
    stream = aio.run(sandbox.machine.open_stream(["cat"]), timeout_s=TIMEOUT_S)
    host.close()
    aio.run(sandbox.machine.forget_runner(), timeout_s=TIMEOUT_S)  # type: ignore[attr-defined]
    aio.run(stream.send(b"still here\n"), timeout_s=TIMEOUT_S)
    assert aio.run(anext(stream.chunks()), timeout_s=TIMEOUT_S) == b"still here\n"  # type: ignore[arg-type]
    fresh = host_of(sandbox)
    assert fresh.run("print('x' in dir())") == "False\n"
    fresh.close()
    aio.run(stream.close(), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("changes", [{"region": "eu-lon-1"}, {"memory_mb": 8192}])
def test_a_snapshot_restores_where_and_as_it_was_taken(rig: Rig, changes: dict[str, Any]) -> None:
    info = take(create(rig))
    assert info.region == "us-pdx-1"
    with pytest.raises(SnapshotIncompatible):
        fork(rig, info, **changes)


def test_a_workspace_outside_the_preview_is_told(server: BlaxelServer, rig: Rig) -> None:
    sandbox = create(rig)
    server.preview = False
    try:
        with pytest.raises(Unsupported, match="preview"):
            take(sandbox)
    finally:
        server.preview = True


def test_a_snapshot_whose_answer_is_lost_is_not_forgotten(server: BlaxelServer, rig: Rig) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    before = len(server.engine.snapshots)
    rig.faults.add("snapshot", Fault(kind="lose_reply"))
    info = take(sandbox)
    assert json.loads(info.ref)["snapshot"] in server.engine.snapshots
    assert len(server.engine.snapshots) == before + 1


def test_a_stream_that_a_snapshot_drops_is_found_again(rig: Rig) -> None:
    assert rig.faults is not None
    sandbox = create(rig)
    host = host_of(sandbox)
    host.run("x = 41")
    rig.faults.drop_streams_at_snapshot = True
    try:
        take(sandbox)
    finally:
        rig.faults.drop_streams_at_snapshot = False
    assert host.run("print(x + 1)") == "42\n"
    host.close()


# Errors, keys, drift ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, {"error": "no such file"}, "NotFound", "no such file"),
        (404, {"error": {"code": "WORKLOAD_NOT_FOUND", "message": "gone"}}, "AlreadyTerminated", "gone"),
        (429, {"error": {"code": "USAGE_LIMIT_EXCEEDED", "message": "tier"}}, "QuotaExceeded", "tier"),
        (429, {"error": "slow down", "code": 429}, "RateLimited", "slow down"),
        (400, {"code": "INVALID_IMAGE", "message": "no image", "status_code": 400}, "InvalidSpec", "no image"),
        (503, {"code": "SERVICE_UNAVAILABLE", "message": "full"}, "CapacityUnavailable", "full"),
        (502, ["odd"], "ProviderUnavailable", "the answer is 502"),
    ],
)
def test_three_shapes_of_errors_are_understood(status: int, body: object, kind: str, message: str) -> None:
    error = Refusal(status, {"retry-after": "7", "cf-ray": "r1"}, json.dumps(body).encode()).error()
    assert (type(error).__name__, str(error), error.status, error.request_id) == (kind, message, status, "r1")
    if isinstance(error, RateLimited):
        assert error.retry_after_s == 7.0
    assert error.retryable is not isinstance(error, QuotaExceeded) or status != 429


def test_the_key_goes_nowhere_unprotected() -> None:
    client = BlaxelClient("secret-key", "acme", "https://api.blaxel.ai/v0")
    assert client.trusted("https://sbx-1.us-pdx-1.bl.run/") == "https://sbx-1.us-pdx-1.bl.run"
    for url in ("http://sbx-1.us-pdx-1.bl.run", "", "file:///etc/passwd"):
        with pytest.raises(ProviderUnavailable):
            client.trusted(url)
    assert "secret-key" not in repr(client)
    aio.run(client.close(), timeout_s=TIMEOUT_S)


def test_a_whole_life_makes_the_requests_that_were_compared_with_the_sdk(
    server: BlaxelServer, rig: Rig, tmp_path: Path
) -> None:
    server.calls.clear()
    aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S)
    sandbox = create(rig)
    host = host_of(sandbox)
    host.run("x = 1")
    host.close()
    aio.run(sandbox.exec(["head", "-c", "300000", "/dev/zero"], timeout_s=30), timeout_s=TIMEOUT_S)
    (tmp_path / "large").write_bytes(bytes(6 << 20))
    aio.run(sandbox.put_file("large", str(tmp_path / "large")), timeout_s=TIMEOUT_S)
    aio.run(sandbox.read_file("large", max_bytes=1 << 24), timeout_s=TIMEOUT_S)
    aio.run(sandbox.extend(60), timeout_s=TIMEOUT_S)
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    info = take(sandbox)
    aio.run(fork(rig, info).terminate(), timeout_s=TIMEOUT_S)
    aio.run(rig.provider.delete_snapshot(info.ref), timeout_s=TIMEOUT_S)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    assert sorted(set(server.calls)) == CALLS
