"""Daytona: traps of its API, its toolbox and its client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daytona import DaytonaError, DaytonaQueueTimeoutError, DaytonaSpotEvictedError, DaytonaValidationError
from daytona_api_client_async.exceptions import ApiException

from sandboxes import aio
from sandboxes.contract import GpuRequest, Isolation, Sandbox, SandboxRef, SandboxState, SnapshotInfo, SnapshotRef
from sandboxes.errors import (
    AlreadyTerminated,
    CapacityUnavailable,
    InvalidSpec,
    NotFound,
    NotReady,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
    SnapshotExpired,
    SnapshotFailed,
    SnapshotIncompatible,
    Unsupported,
)
from sandboxes.providers.daytona import provider as provider_module
from sandboxes.providers.daytona.errors import translate
from sandboxes.remote.sandbox import RemoteSandbox
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.daytona.rig import open_server
from tests.wire.daytona.server import DaytonaServer
from tests.wire.engine import Box
from tests.wire.faults import Fault
from tests.wire.rig import Rig

VM = Isolation.MICROVM


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, DaytonaServer]]:
    with open_server(Path(tmp_path_factory.mktemp("daytona"))) as (rig, server):
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, DaytonaServer]) -> Rig:
    return opened[0]


@pytest.fixture
def server(opened: tuple[Rig, DaytonaServer]) -> DaytonaServer:
    return opened[1]


def box_of(server: DaytonaServer, sandbox: Sandbox) -> Box:
    return server.engine.boxes[json.loads(sandbox.ref)["id"]]


def take(sandbox: Sandbox, kind: Any = "fs") -> SnapshotInfo:
    return aio.run(sandbox.snapshot(kind), timeout_s=TIMEOUT_S)


def restore(rig: Rig, ref: SnapshotRef, **changes: Any) -> list[Any]:
    spec = replace(rig.spec, **changes)
    return list(aio.run(rig.provider.restore(ref, spec, idempotency_key=key()), timeout_s=TIMEOUT_S))


def name_of(info: SnapshotInfo) -> str:
    return str(json.loads(info.ref)["snapshot"])


# Classes of sandboxes --------------------------------------------------------------------------------------------------


def test_a_vm_is_saved_hot_and_keeps_its_memory_in_a_pause(rig: Rig, server: DaytonaServer) -> None:
    sandbox = create(rig, isolation_min=VM)
    info = aio.run(sandbox.info(), timeout_s=TIMEOUT_S)
    assert (info.isolation, info.tier) == (Isolation.MICROVM, "linux-vm")
    taken = [take(sandbox, "fs"), take(sandbox, "memory")]
    assert [each.include_memory for each in server.snapshot_requests[-2:]] == [True, True]
    assert [each.kind for each in taken] == ["memory", "memory"]
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).state is SandboxState.PAUSED
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    child = restore(rig, taken[0].ref)[0]
    assert aio.run(child.info(), timeout_s=TIMEOUT_S).tier == "linux-vm"
    request: Any = box_of(server, child).settings["asked"]
    assert (request.auto_stop_interval, request.auto_pause_interval) == (0, 5)


def test_a_container_has_no_memory_to_save(rig: Rig, server: DaytonaServer) -> None:
    sandbox, before = create(rig), len(server.snapshot_requests)
    with pytest.raises(Unsupported, match="memory_snapshot of a container"):
        take(sandbox, "memory")
    assert len(server.snapshot_requests) == before


def test_one_with_a_gpu_is_not_stopped_for_a_pause(rig: Rig, server: DaytonaServer) -> None:
    sandbox = create(rig, gpu=GpuRequest(("H100",)))
    with pytest.raises(Unsupported, match="GPU"):
        aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    assert box_of(server, sandbox).alive
    child = restore(rig, take(sandbox).ref, gpu=GpuRequest(("H100",)))[0]
    request: Any = box_of(server, child).settings["asked"]
    assert request.auto_delete_interval == 0


# Snapshots -------------------------------------------------------------------------------------------------------------


def test_a_snapshot_does_not_fit_every_spec(rig: Rig) -> None:
    taken = take(create(rig))
    assert taken.region == "us"
    for changes in ({"isolation_min": VM}, {"gpu": GpuRequest(("H100",))}, {"region": "eu"}):
        with pytest.raises(SnapshotIncompatible):
            restore(rig, taken.ref, **changes)


def test_a_snapshot_that_lay_idle_is_activated(rig: Rig, server: DaytonaServer) -> None:
    taken = take(create(rig))
    server.snapshot_states[name_of(taken)] = "inactive"
    assert isinstance(restore(rig, taken.ref)[0], RemoteSandbox)


def test_a_snapshot_that_is_being_removed_has_expired(rig: Rig, server: DaytonaServer) -> None:
    taken = take(create(rig))
    server.snapshot_states[name_of(taken)] = "removing"
    with pytest.raises(SnapshotExpired):
        restore(rig, taken.ref)


def test_too_many_snapshots_are_a_matter_of_quota(rig: Rig, server: DaytonaServer) -> None:
    sandbox = create(rig)
    server.snapshot_cap = len(server.engine.snapshots)
    try:
        with pytest.raises(QuotaExceeded, match="delete snapshots of earlier steps"):
            take(sandbox)
    finally:
        server.snapshot_cap = 60
    assert rig.provider.capabilities()["max_snapshots"].value == 60


def test_a_snapshot_whose_answer_was_lost_is_found(rig: Rig, server: DaytonaServer) -> None:
    sandbox, before = create(rig), len(server.engine.snapshots)
    assert rig.faults is not None
    rig.faults.add("snapshot", Fault(kind="lose_reply"))
    assert name_of(take(sandbox)) in server.engine.snapshots
    assert len(server.engine.snapshots) == before + 1


def test_a_snapshot_that_fails_leaves_nothing(rig: Rig, server: DaytonaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, before = create(rig), len(server.engine.snapshots)
    monkeypatch.setattr(server, "_snapshot_state", lambda name: "error")
    with pytest.raises(SnapshotFailed):
        take(sandbox)
    assert len(server.engine.snapshots) == before


# Streams ---------------------------------------------------------------------------------------------------------------


def test_a_session_ends_with_its_channel(rig: Rig, server: DaytonaServer) -> None:
    host = host_of(create(rig))
    assert server.toolbox.sessions
    host.close()
    assert not server.toolbox.sessions


def test_a_log_from_its_beginning_is_not_read_twice(rig: Rig, server: DaytonaServer) -> None:
    """Nor is input echoed into it: what comes back is the runner's alone."""
    assert rig.faults is not None
    host = host_of(create(rig))
    printed = []
    for number in range(3):
        printed.append(host.run(f"print({number})"))
        assert rig.faults.drop_streams() == 1
    assert printed == ["0\n", "1\n", "2\n"]
    logs = [command.log for session in server.toolbox.sessions.values() for command in session.commands.values()]
    assert all(b"execute" not in log for log in logs)
    host.close()


def test_short_ends_of_output_do_not_wait_for_more(rig: Rig, server: DaytonaServer) -> None:
    """The client holds one or two bytes at the end back; the server sends the last byte of everything alone."""
    host = host_of(create(rig))
    assert [host.run(f"print({'x' * length!r})") for length in range(1, 8)] == [f"{'x' * n}\n" for n in range(1, 8)]
    host.close()


# Commands and files ----------------------------------------------------------------------------------------------------


def test_the_toolbox_is_told_a_deadline_of_more_than_its_ten_seconds(rig: Rig, server: DaytonaServer) -> None:
    sandbox = create(rig)
    aio.run(sandbox.exec(["true"], timeout_s=100.5), timeout_s=TIMEOUT_S)
    timeout = server.toolbox.executed[-1].timeout
    assert timeout is not None
    assert timeout > 100


def test_calls_into_a_stopped_sandbox_say_so(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    with pytest.raises(NotReady, match="stopped; resume it first"):
        aio.run(sandbox.exec(["true"], timeout_s=5), timeout_s=TIMEOUT_S)
    with pytest.raises(NotReady, match="stopped; resume it first"):
        aio.run(sandbox.open_channel(), timeout_s=TIMEOUT_S)
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.exec(["true"], timeout_s=5), timeout_s=TIMEOUT_S).exit_code == 0


def test_files_of_one_that_has_ended_are_not_missing_files(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(AlreadyTerminated):
        aio.run(sandbox.read_file("a", max_bytes=1), timeout_s=TIMEOUT_S)


def test_a_folder_is_no_file(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.write_file("folder/file", b""), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec, match="is a folder"):
        aio.run(sandbox.read_file("folder", max_bytes=10), timeout_s=TIMEOUT_S)


# Life ------------------------------------------------------------------------------------------------------------------


def test_a_key_finds_its_sandbox_also_when_it_has_stopped(rig: Rig) -> None:
    name = key()
    first = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    aio.run(first.pause(), timeout_s=TIMEOUT_S)
    again = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert again.ref == first.ref
    assert aio.run(again.info(), timeout_s=TIMEOUT_S).state is SandboxState.RUNNING


def test_a_key_is_not_bound_to_one_that_failed(rig: Rig, server: DaytonaServer) -> None:
    name = key()
    first = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    server.states[json.loads(first.ref)["id"]] = "error"
    with pytest.raises(ProviderUnavailable, match="did not start"):
        aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert not box_of(server, first).alive
    again = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert again.ref != first.ref


def test_a_longer_life_is_counted_from_now(rig: Rig) -> None:
    sandbox = create(rig, lifetime_s=600)
    aio.run(sandbox.extend(1200), timeout_s=TIMEOUT_S)
    expires_at = aio.run(sandbox.info(), timeout_s=TIMEOUT_S).expires_at
    assert expires_at is not None
    assert 1700 < expires_at - time.time() < 1870


def test_deleting_waits_until_the_sandbox_is_between_no_two_states(rig: Rig, server: DaytonaServer) -> None:
    sandbox = create(rig)
    assert rig.faults is not None
    rig.faults.add("terminate", Fault(409, message="Sandbox state change in progress"), times=2)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    assert not box_of(server, sandbox).alive


def test_all_pages_of_a_list_are_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "PAGE_SIZE", 2)
    label = key()
    refs = {create(rig, labels={"session": label}).ref for _ in range(5)}
    found = aio.run(rig.provider.list({"session": label, "rlmweb": "1"}), timeout_s=TIMEOUT_S)
    assert {info.ref for info in found} == refs


def test_one_that_is_being_deleted_is_gone(rig: Rig, server: DaytonaServer) -> None:
    label = key()
    sandbox = create(rig, labels={"session": label})
    server.states[json.loads(sandbox.ref)["id"]] = "destroying"
    assert aio.run(rig.provider.list({"session": label}), timeout_s=TIMEOUT_S) == []
    with pytest.raises(NotFound):
        aio.run(rig.provider.get(SandboxRef(str(sandbox.ref))), timeout_s=TIMEOUT_S)


def test_a_ports_address_is_good_for_an_hour(rig: Rig) -> None:
    assert aio.run(create(rig).port_url(8000), timeout_s=TIMEOUT_S) == "https://8000-3600.preview.example"


def test_ping_names_what_the_key_may_not_do(rig: Rig, server: DaytonaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S) == "Daytona key tests"
    monkeypatch.setattr(server, "permissions", ["write:sandboxes", "delete:sandboxes"])
    assert "without write:snapshots, delete:snapshots" in aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S)


# Errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DaytonaQueueTimeoutError("waited"), CapacityUnavailable),
        (DaytonaSpotEvictedError("evicted"), CapacityUnavailable),
        (DaytonaError("No available runners", status_code=400), CapacityUnavailable),
        (DaytonaError("Total CPU limit exceeded. Maximum allowed: 10.", status_code=403), QuotaExceeded),
        (DaytonaError("Memory exceeds the maximum allowed per sandbox (8)", status_code=400), InvalidSpec),
        (DaytonaError("forks exist", status_code=409), NotReady),
        (DaytonaError("gone", status_code=410), AlreadyTerminated),
        (DaytonaError("what is this"), ProviderUnavailable),
        (DaytonaValidationError("negative"), InvalidSpec),
        (ApiException(status=502, body='{"message": "bad"}'), ProviderUnavailable),
        (TimeoutError(), ProviderUnavailable),
    ],
)
def test_the_vendors_errors_become_ours(error: Exception, kind: type[SandboxError]) -> None:
    found = translate(error)
    assert type(found) is kind
    assert (found.provider, found.native_type) == ("daytona", type(error).__name__)


def test_what_the_vendor_says_beside_an_error_is_kept() -> None:
    limited = translate(DaytonaError("slow down", status_code=429, headers={"Retry-After": "7"}))
    assert isinstance(limited, RateLimited)
    assert (limited.retry_after_s, limited.status, limited.retryable) == (7.0, 429, True)
    failed = translate(DaytonaError("broken", status_code=500, headers={"X-Request-Id": "r1"}))
    assert (failed.status, failed.request_id, failed.retryable) == (500, "r1", True)
