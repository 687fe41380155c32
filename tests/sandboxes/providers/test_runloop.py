"""Runloop: traps of its API and its client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from runloop_api_client import APIConnectionError, APIStatusError

from sandboxes import aio
from sandboxes.contract import NetworkPolicy, Sandbox, SandboxState, SnapshotRef
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
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
    StreamLost,
    Unsupported,
)
from sandboxes.providers.runloop import RunloopProvider, devboxes
from sandboxes.providers.runloop import provider as provider_module
from sandboxes.providers.runloop.errors import translate
from sandboxes.providers.runloop.stream import Position
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.faults import Fault
from tests.wire.rig import Rig
from tests.wire.runloop.rig import open_server
from tests.wire.runloop.server import RunloopServer


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


def id_of(sandbox: Sandbox) -> str:
    return str(json.loads(sandbox.ref)["id"])


def run(sandbox: Sandbox, line: str) -> bytes:
    return aio.run(sandbox.exec(["sh", "-c", line], timeout_s=30), timeout_s=TIMEOUT_S).stdout


def make(rig: Rig, name: str, **changes: Any) -> Sandbox:
    return aio.run(rig.provider.create(replace(rig.spec, **changes), idempotency_key=name), timeout_s=TIMEOUT_S)


# Creating -------------------------------------------------------------------------------------------------------------


def test_a_key_whose_devbox_has_ended_makes_another(rig: Rig) -> None:
    """The vendor would lead to the ended one for ever."""
    name = key()
    first = make(rig, name)
    aio.run(first.terminate(), timeout_s=TIMEOUT_S)
    second = make(rig, name)
    assert second.ref != first.ref
    assert make(rig, name).ref == second.ref


def test_a_key_is_not_used_for_ever(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "MAX_USES_OF_A_KEY", 2)
    name = key()
    for _ in range(2):
        aio.run(make(rig, name).terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(ProviderUnavailable, match="of this key have ended: api_shutdown"):
        make(rig, name)


def test_one_that_stays_queued_is_given_up(rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devboxes, "STATE_TIMEOUT_S", 0.05)
    monkeypatch.setattr("tests.wire.runloop.server.STEPS", {"provisioning": "queued"})
    alive = len(server.engine.alive())
    with pytest.raises(CapacityUnavailable, match="queued"):
        create(rig)
    assert len(server.engine.alive()) == alive


def test_one_that_fails_to_start_says_so(rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.wire.runloop.server.STEPS", {"provisioning": "failure"})
    alive = len(server.engine.alive())
    with pytest.raises(ProviderUnavailable, match="failure"):
        create(rig)
    assert len(server.engine.alive()) == alive


def test_a_suspended_one_of_the_same_key_is_resumed(rig: Rig) -> None:
    name = key()
    first = make(rig, name)
    aio.run(first.write_file("file", b"kept"), timeout_s=TIMEOUT_S)
    aio.run(first.pause(), timeout_s=TIMEOUT_S)
    again = make(rig, name)
    assert again.ref == first.ref
    assert aio.run(again.read_file("file", max_bytes=10), timeout_s=TIMEOUT_S) == b"kept"


def test_a_policy_is_made_once_and_found_by_what_it_says(rig: Rig, server: RunloopServer) -> None:
    policies = server.account.policies
    asked = {"network": NetworkPolicy("allowlist", (f"{key()}.org",))}
    before = len(policies)
    for _ in range(2):
        create(rig, **asked)
    provider: Any = rig.provider
    provider._policies.forget()
    create(rig, **asked)
    assert len(policies) == before + 1
    list(policies.values())[-1].egress.allow_all = True  # by somebody, in the dashboard
    provider._policies.forget()
    create(rig, **asked)
    assert len(policies) == before + 2


def test_a_policy_that_was_deleted_is_made_anew(rig: Rig, server: RunloopServer) -> None:
    asked = {"network": NetworkPolicy("allowlist", (f"{key()}.org",))}
    create(rig, **asked)
    server.account.policies.clear()
    with pytest.raises(InvalidSpec, match="no such network policy"):
        create(rig, **asked)
    create(rig, **asked)


# Blueprints -----------------------------------------------------------------------------------------------------------


def test_a_blueprint_is_built_and_used_by_name_or_id(rig: Rig, server: RunloopServer) -> None:
    provider = rig.provider
    assert isinstance(provider, RunloopProvider)
    id = aio.run(provider.build_blueprint("mine", image="python:3.12-slim"), timeout_s=TIMEOUT_S)
    assert server.account.blueprints[id].parameters.dockerfile == "FROM python:3.12-slim\n"
    for image, field in ((id, "blueprint_id"), ("mine", "blueprint_name")):
        create(rig, image=image)
        assert server.created[-1][field] == image


def test_a_blueprint_that_cannot_be_built_says_why(
    rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.account, "build_failure", "out_of_disk")
    provider = rig.provider
    assert isinstance(provider, RunloopProvider)
    with pytest.raises(InvalidSpec, match="out_of_disk"):
        aio.run(provider.build_blueprint("broken", dockerfile="FROM nothing"), timeout_s=TIMEOUT_S)


def test_an_unknown_blueprint_is_a_wrong_spec(rig: Rig) -> None:
    with pytest.raises(InvalidSpec, match="no such blueprint"):
        create(rig, image="nobody-built-this")


def test_the_providers_blueprint_is_for_sessions_without_an_image(tmp_path: Path) -> None:
    with open_server(tmp_path, blueprint="ours") as (rig, server):
        provider = rig.provider
        assert isinstance(provider, RunloopProvider)
        aio.run(provider.build_blueprint("ours"), timeout_s=TIMEOUT_S)
        create(rig)
        assert server.created[-1]["blueprint_name"] == "ours"
        aio.run(provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


# Commands and streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offsets", ["start", "end", ""])
def test_a_log_that_is_let_go_of_is_followed_without_gap_or_repetition(
    rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch, offsets: str
) -> None:
    """Where pieces say no offset, the line is opened anew."""
    sandbox = create(rig)
    monkeypatch.setattr(server.inside, "hold_s", 0.15)
    monkeypatch.setattr(server.inside, "offsets", offsets)
    server.inside.followed.clear()
    host = host_of(sandbox)
    printed = host.run("import time\nfor i in range(40):\n    print(i); time.sleep(0.02)")
    assert printed == "".join(f"{number}\n" for number in range(40))
    assert len(server.inside.followed) > 2
    assert any(server.inside.followed) == bool(offsets)
    host.close()


def test_the_clients_own_way_to_follow_a_log_repeats_a_piece(
    rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why ours is another: it asks again from the offset of the last piece. When this fails, it was mended."""
    sandbox: Any = create(rig)
    monkeypatch.setattr(server.inside, "hold_s", 0.2)

    async def read() -> str:
        boxes = sandbox.machine._client.api.devboxes
        started = await boxes.execute_async(sandbox.machine.id, command="echo 1; sleep 0.5; echo 2")
        pieces = await boxes.executions.stream_stdout_updates(started.execution_id, devbox_id=sandbox.machine.id)
        return "".join([piece.output async for piece in pieces])

    assert aio.run(read(), timeout_s=TIMEOUT_S).startswith("1\n1\n")


def test_a_piece_of_a_log_is_taken_once_and_never_past_a_gap() -> None:
    starts = Position()
    assert starts.new(b"", None) == b""
    assert (starts.new(b"abc", 0), starts.new(b"bcd", 1), starts.new(b"bc", 1)) == (b"abc", b"d", b"")
    with pytest.raises(StreamLost, match="2 bytes"):
        starts.new(b"x", 6)
    with pytest.raises(StreamLost, match="no offset"):
        starts.new(b"x", None)
    ends = Position()
    assert (ends.new(b"abc", 3), ends.new(b"bcd", 4), ends.received) == (b"abc", b"d", 4)
    silent = Position()
    assert silent.resumable
    assert (silent.new(b"abc", None), silent.new(b"de", None)) == (b"abc", b"de")
    assert not silent.resumable


def test_output_beyond_an_answer_is_read_from_the_log(rig: Rig, server: RunloopServer) -> None:
    server.inside.followed.clear()
    assert len(run(create(rig), "head -c 400000 /dev/zero | tr '\\0' x")) == 400_000
    assert server.inside.followed == [0]


def test_input_goes_in_order_and_as_text(rig: Rig, server: RunloopServer) -> None:
    host = host_of(create(rig))
    server.inside.sent.clear()
    assert host.run(f"t = {'x' * 200_000!r}\nprint(len(t))") == "200000\n"
    numbers = [int(text.split(" ")[0]) for text in server.inside.sent]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(text.isascii() for text in server.inside.sent)
    host.close()


def test_a_lost_answer_to_a_command_runs_it_once(rig: Rig) -> None:
    sandbox = create(rig)
    run(sandbox, "true")
    assert rig.faults is not None
    rig.faults.add("exec", Fault(kind="lose_reply"))
    run(sandbox, "echo x >> count")
    assert aio.run(sandbox.read_file("count", max_bytes=10), timeout_s=TIMEOUT_S) == b"x\n"


def test_a_long_command_is_waited_for(rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandboxes.providers.runloop.commands.HOLD_S", 1)
    assert run(create(rig), "sleep 2.5; echo done") == b"done\n"


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404])
def test_a_missing_file_is_said_in_either_way(
    rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(server.inside, "missing_file_status", status)
    with pytest.raises(NotFound):
        aio.run(create(rig).read_file("nothing", max_bytes=1), timeout_s=TIMEOUT_S)


def test_a_folder_that_was_removed_is_made_again(rig: Rig) -> None:
    """An upload does not make it."""
    sandbox = create(rig)
    aio.run(sandbox.write_file("a/b/file", b"1"), timeout_s=TIMEOUT_S)
    run(sandbox, "rm -r a")
    aio.run(sandbox.write_file("a/b/file", b"2"), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.read_file("a/b/file", max_bytes=1), timeout_s=TIMEOUT_S) == b"2"


# Life -----------------------------------------------------------------------------------------------------------------


def test_suspending_keeps_the_id_and_loses_the_processes(rig: Rig) -> None:
    sandbox = create(rig)
    host = host_of(sandbox)
    host.run("x = 1\nopen('file', 'w').write('kept')")
    host.close()
    for _ in range(2):
        aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).state is SandboxState.PAUSED
    again = aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    with pytest.raises(NotReady, match="resume it first"):
        run(again, "true")
    for _ in range(2):
        aio.run(again.resume(), timeout_s=TIMEOUT_S)
    assert again.ref == sandbox.ref
    second = host_of(again)
    assert second.run("print(open('file').read(), 'x' in globals())") == "kept False\n"
    second.close()


def test_a_fixed_length_cannot_be_extended(rig: Rig) -> None:
    with pytest.raises(Unsupported, match="extend"):
        aio.run(create(rig).extend(60), timeout_s=TIMEOUT_S)


def test_lists_are_of_the_living_in_every_state_and_of_all_pages(
    rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "PAGE_SIZE", 2)
    label = key()
    refs = {create(rig, labels={"session": label}).ref for _ in range(5)}
    paused, ended = create(rig, labels={"session": label}), create(rig, labels={"session": label})
    aio.run(paused.pause(), timeout_s=TIMEOUT_S)
    aio.run(ended.terminate(), timeout_s=TIMEOUT_S)
    create(rig, labels={"session": "another"})
    found = aio.run(rig.provider.list({"session": label}), timeout_s=TIMEOUT_S)
    assert {info.ref for info in found} == {*refs, paused.ref}
    assert {info.state for info in found} == {SandboxState.RUNNING, SandboxState.PAUSED}


def test_ports_are_open_to_the_world_only_where_that_was_allowed(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="allow public ports"):
        aio.run(create(rig).port_url(80), timeout_s=TIMEOUT_S)
    with open_server(tmp_path, public_ports=True) as (other, server):
        sandbox = create(other)
        for port in (80, 8000):
            url = aio.run(sandbox.port_url(port), timeout_s=TIMEOUT_S)
            assert url == f"https://{port}-key-of-{id_of(sandbox)}.tunnel.runloop.ai"
        aio.run(other.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


# Snapshots ------------------------------------------------------------------------------------------------------------


def snapshot(sandbox: Sandbox, label: str = "") -> Any:
    return aio.run(sandbox.snapshot("fs", label=label), timeout_s=TIMEOUT_S)


def fork(rig: Rig, ref: SnapshotRef, **changes: Any) -> Any:
    spec = replace(rig.spec, **changes)
    return aio.run(rig.provider.restore(ref, spec, idempotency_key=key()), timeout_s=TIMEOUT_S)[0]


def test_a_snapshot_says_whose_it_is(rig: Rig, server: RunloopServer) -> None:
    info = snapshot(create(rig), "Step 3: ä")
    asked = server.snapshot_requests[-1]
    assert (asked["metadata"], asked["commit_message"]) == ({"rlmweb": "1"}, "Step 3: ä")
    assert asked["name"].startswith("rlm-step-3-")
    assert (info.kind, info.size_bytes, info.expires_at) == ("fs", 4096, None)


def test_there_is_no_snapshot_of_memory(rig: Rig) -> None:
    with pytest.raises(Unsupported, match="memory_snapshot"):
        aio.run(create(rig).snapshot("memory"), timeout_s=TIMEOUT_S)


def test_a_snapshot_that_failed_is_not_kept(rig: Rig, server: RunloopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "snapshot_failure", "the disk is on fire")
    with pytest.raises(SnapshotFailed, match="on fire"):
        snapshot(create(rig))
    assert list(server.snapshot_statuses.values())[-1] == "deleted"


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_to_a_snapshot_leaves_one(rig: Rig, server: RunloopServer, times: int) -> None:
    """The client tries again with the same key; when that is in vain, it is found by its name."""
    sandbox = create(rig)
    assert rig.faults is not None
    rig.faults.add("snapshot", Fault(kind="lose_reply"), times=times)
    before = len(server.snapshot_statuses)
    assert isinstance(snapshot(sandbox).ref, str)
    assert len(server.snapshot_statuses) == before + 1


def test_a_snapshot_that_was_deleted_says_so(rig: Rig) -> None:
    """The client's own `await_completed` waits for it."""
    info = snapshot(create(rig))
    aio.run(rig.provider.delete_snapshot(info.ref), timeout_s=TIMEOUT_S)
    with pytest.raises(SnapshotExpired, match="deleted"):
        fork(rig, info.ref)
    with pytest.raises(NotFound):
        fork(rig, SnapshotRef('{"provider": "runloop", "snapshot": "snp_nothing"}'))


def test_a_fork_has_a_spec_of_its_own_and_no_blueprint(rig: Rig, server: RunloopServer) -> None:
    info = snapshot(create(rig, env={"A": "1"}, labels={"node": "1"}))
    child = fork(rig, info.ref, env={"A": "2"}, labels={"node": "2"}, image="some-blueprint", memory_mb=4096)
    body = server.created[-1]
    assert body["metadata"] == {"node": "2", "rlmweb": "1"}
    assert body["launch_parameters"]["custom_gb_memory"] == 4
    assert not {"blueprint_name", "blueprint_id"} & body.keys()
    assert run(child, "echo $A") == b"2\n"


def test_one_that_is_being_saved_can_be_ended(rig: Rig, server: RunloopServer) -> None:
    """Without force the vendor refuses."""
    sandbox = create(rig)
    info = snapshot(sandbox)
    server.snapshot_statuses[json.loads(info.ref)["snapshot"]] = "in_progress"
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises((AlreadyTerminated, NotFound)):
        snapshot(sandbox)


# Errors ---------------------------------------------------------------------------------------------------------------


def said(status: int, message: str = "", **headers: str) -> APIStatusError:
    request = httpx.Request("GET", "http://localhost/")
    response = httpx.Response(status, headers=headers, request=request)
    return APIStatusError("the whole body", response=response, body={"message": message} if message else None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (said(400, "wrong size"), InvalidSpec),
        (said(400, "Concurrent devbox limit reached"), QuotaExceeded),
        (said(401, "no"), AuthFailed),
        (said(402, "pay"), QuotaExceeded),
        (said(403, "your key may not"), AuthFailed),
        (said(403, "suspend needs a plan: upgrade your plan"), QuotaExceeded),
        (said(404, "no"), NotFound),
        (said(409, "between states"), NotReady),
        (said(422, "what"), InvalidSpec),
        (said(429, "slow down"), RateLimited),
        (said(429, "maximum number of devboxes"), QuotaExceeded),
        (said(500, "broken"), ProviderUnavailable),
        (said(500, "insufficient capacity"), CapacityUnavailable),
        (said(503, "busy"), ProviderUnavailable),
        (APIConnectionError(request=httpx.Request("GET", "http://localhost/")), ProviderUnavailable),
        (httpx.ReadTimeout("slow"), ProviderUnavailable),
        (AttributeError("no answer"), ProviderUnavailable),
    ],
)
def test_the_vendors_errors_become_ours(error: Exception, kind: type[SandboxError]) -> None:
    found = translate(error)
    assert type(found) is kind
    assert (found.provider, found.native_type) == ("runloop", type(error).__name__)


def test_what_the_vendor_says_beside_an_error_is_kept() -> None:
    limited = translate(said(429, "slow down", **{"Retry-After": "7", "X-Request-Id": "r0"}))
    assert isinstance(limited, RateLimited)
    assert (str(limited), limited.retry_after_s, limited.status, limited.request_id) == ("slow down", 7.0, 429, "r0")
    failed = translate(said(500, **{"X-Request-Id": "r1"}))
    assert (str(failed), failed.status, failed.request_id, failed.retryable) == ("the whole body", 500, "r1", True)
    assert type(translate(said(503, "busy"), placing=True)) is CapacityUnavailable
