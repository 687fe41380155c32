"""E2B: traps of its API, of envd and of its client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from e2b import (
    AuthenticationException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    RateLimitException,
    SandboxException,
    TimeoutException,
)
from e2b.exceptions import (
    BuildException,
    GuestUnresponsiveException,
    SandboxNotFoundException,
    SandboxNotRunningException,
    ServiceBusyException,
)

from sandboxes import aio
from sandboxes.contract import ExecResult, Sandbox, SandboxState, SnapshotInfo, SnapshotRef
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    ExecTimeout,
    InvalidSpec,
    NotFound,
    NotReady,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
    StreamLost,
    Unsupported,
)
from sandboxes.providers.e2b import E2BProvider, stream
from sandboxes.providers.e2b.errors import translate, translated
from sandboxes.providers.e2b.machine import E2BMachine
from sandboxes.providers.e2b.stream import exit_code
from sandboxes.remote.sandbox import RemoteSandbox
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.e2b.rig import open_server
from tests.wire.e2b.server import E2BServer
from tests.wire.engine import Box
from tests.wire.faults import Fault
from tests.wire.rig import Rig


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, E2BServer]]:
    with open_server(Path(tmp_path_factory.mktemp("e2b"))) as (rig, server):
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, E2BServer]) -> Rig:
    return opened[0]


@pytest.fixture
def server(opened: tuple[Rig, E2BServer]) -> E2BServer:
    return opened[1]


@pytest.fixture
def sandbox(rig: Rig) -> Iterator[Sandbox]:
    sandbox = create(rig)
    yield sandbox
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def box_of(server: E2BServer, sandbox: Sandbox) -> Box:
    return server.engine.boxes[json.loads(sandbox.ref)["id"]]


def machine_of(sandbox: Sandbox) -> E2BMachine:
    assert isinstance(sandbox, RemoteSandbox)
    assert isinstance(sandbox.machine, E2BMachine)
    return sandbox.machine


def sh(sandbox: Sandbox, line: str, **options: Any) -> ExecResult:
    return aio.run(sandbox.exec(["sh", "-c", line], **{"timeout_s": 30, **options}), timeout_s=TIMEOUT_S)


def take(sandbox: Sandbox, kind: Any = "fs") -> SnapshotInfo:
    return aio.run(sandbox.snapshot(kind, label="Step 1/2"), timeout_s=TIMEOUT_S)


def restore(rig: Rig, ref: SnapshotRef, count: int = 1, **changes: Any) -> list[Any]:
    spec = replace(rig.spec, **changes)
    return list(aio.run(rig.provider.restore(ref, spec, count=count, idempotency_key=key()), timeout_s=TIMEOUT_S))


def commands(server: E2BServer, sandbox: Sandbox) -> list[str]:
    """What was started in a sandbox, as lines."""
    id = json.loads(sandbox.ref)["id"]
    return [
        " ".join(request.process.args)
        for request, headers in server.envd.processes.started
        if request.process is not None and headers["e2b-sandbox-id"] == id
    ]


async def started(server: E2BServer, sandbox: Sandbox, line: str) -> asyncio.Future[ExecResult]:
    """A command that runs, and whose first output has been read."""
    processes = server.envd.processes
    processes.heard.clear()
    processes.joined.clear()
    running = asyncio.ensure_future(sandbox.exec(["sh", "-c", line], timeout_s=30))
    await asyncio.to_thread(processes.heard.wait, TIMEOUT_S)
    return running


# Finding and waking ---------------------------------------------------------------------------------------------------


def test_finding_a_paused_sandbox_does_not_wake_it(rig: Rig, server: E2BServer, sandbox: Sandbox) -> None:
    """`connect`, which the client offers for finding, does."""
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    again = aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    assert aio.run(again.info(), timeout_s=TIMEOUT_S).state is SandboxState.PAUSED
    assert box_of(server, sandbox).state == "paused"
    with pytest.raises(NotReady, match="resume"):
        sh(again, "true")


def test_pausing_twice_is_no_error(sandbox: Sandbox) -> None:
    for _ in range(2):
        aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    assert sh(sandbox, "echo on").stdout == b"on\n"


def test_a_resumed_sandbox_has_more_than_five_minutes(rig: Rig) -> None:
    sandbox = create(rig, lifetime_s=7200)
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    again = aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    aio.run(again.resume(), timeout_s=TIMEOUT_S)
    expires_at = aio.run(again.info(), timeout_s=TIMEOUT_S).expires_at
    assert expires_at is not None
    assert expires_at > time.time() + 7000


def test_a_life_is_made_longer_and_not_set_anew(sandbox: Sandbox) -> None:
    aio.run(sandbox.extend(3000), timeout_s=TIMEOUT_S)
    expires_at = aio.run(sandbox.info(), timeout_s=TIMEOUT_S).expires_at
    assert expires_at is not None
    assert 3500 < expires_at - time.time() < 3700


def test_a_list_has_pages_and_any_label(rig: Rig, server: E2BServer) -> None:
    label = {"who & what": "ä=1/2 +%"}
    made = {create(rig, labels=label).ref for _ in range(3)}
    server.page_size = 2
    try:
        found = aio.run(rig.provider.list(label), timeout_s=TIMEOUT_S)
    finally:
        server.page_size = 100
    assert {info.ref for info in found} == made


def test_ports_are_closed_unless_the_settings_open_them(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        aio.run(create(rig).port_url(8000), timeout_s=TIMEOUT_S)
    with open_server(tmp_path, public_ports=True) as (other, _):
        url = aio.run(create(other).port_url(8000), timeout_s=TIMEOUT_S)
    assert url.startswith("https://8000-i")


# Commands -------------------------------------------------------------------------------------------------------------


def test_a_command_outlives_the_minute_of_the_client(server: E2BServer, sandbox: Sandbox) -> None:
    """Its own deadline is ours and a little more; the runner's stream has none."""
    sh(sandbox, "true", timeout_s=3600)
    _, headers = server.envd.processes.started[-1]
    assert int(headers["connect-timeout-ms"]) == 3_615_000
    host_of(sandbox).close()
    request, headers = server.envd.processes.started[-1]
    assert request.stdin
    assert "connect-timeout-ms" not in headers


def test_a_command_that_left_its_session_ends_with_its_deadline(sandbox: Sandbox) -> None:
    """envd signals one process; what that one started is found by its variables."""
    with pytest.raises(ExecTimeout):
        sh(sandbox, "setsid sleep 62.5 & (setsid sleep 62.5 &) ; sleep 62.5", timeout_s=1.0)
    lines = "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline; echo; done 2>/dev/null"
    assert sh(sandbox, f"{lines} | grep -c '^sleep 62.5' || true").stdout.strip() == b"0"


def test_a_command_is_found_again_by_its_pid(server: E2BServer, sandbox: Sandbox) -> None:
    """A snapshot breaks its stream and not itself. What it wrote meanwhile is lost, which the result says."""

    processes = server.envd.processes
    processes.connected.clear()

    async def both() -> ExecResult:
        line = "echo first; while [ ! -e go ]; do sleep 0.02; done; echo last; exit 3"
        running = await started(server, sandbox, line)
        await sandbox.snapshot("memory")
        await asyncio.to_thread(processes.joined.wait, TIMEOUT_S)
        await sandbox.write_file("go", b"")
        return await running

    done = aio.run(both(), timeout_s=TIMEOUT_S)
    assert done == ExecResult(3, b"first\nlast\n", b"", truncated=True)
    assert len(processes.connected) == 1


def test_a_command_that_ended_out_of_sight_is_no_result(server: E2BServer, sandbox: Sandbox) -> None:
    async def both() -> None:
        running = await started(server, sandbox, "echo on; sleep 63.5")
        for each in server.envd.processes.running.values():
            each.ended = True  # as it is once envd has forgotten it
        server.faults.drop_streams()
        await running

    with pytest.raises(StreamLost) as caught:
        aio.run(both(), timeout_s=TIMEOUT_S)
    assert not caught.value.resumable


def test_a_command_whose_start_got_lost_does_not_run_on(server: E2BServer, sandbox: Sandbox) -> None:
    server.faults.add("exec", Fault(kind="lose_reply"))
    with pytest.raises(ProviderUnavailable):
        sh(sandbox, "sleep 65.5")
    lines = "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline; echo; done 2>/dev/null"
    assert sh(sandbox, f"{lines} | grep -c '^sleep 65.5' || true").stdout.strip() == b"0"


def test_a_cancelled_call_is_cancelled(server: E2BServer, sandbox: Sandbox) -> None:
    """The client's library makes an error of its own of it, which would go for a broken stream."""

    async def cancel() -> None:
        running = await started(server, sandbox, "echo on; sleep 64.5")
        running.cancel()
        await running

    with pytest.raises((asyncio.CancelledError, CancelledError)):
        aio.run(cancel(), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize(
    ("code", "status", "ours"),
    [
        (0, "exit status 0", 0),
        (255, "exit status 255", 255),
        (-1, "signal: killed", 137),
        (-1, "signal: segmentation fault (core dumped)", 139),
        (-1, "signal: terminated", 143),
        (-1, "signal: user defined signal 1", 128),
    ],
)
def test_signals_are_told_as_a_shell_does(code: int, status: str, ours: int) -> None:
    assert exit_code(code, status) == ours


# The line to the runner -----------------------------------------------------------------------------------------------


def test_a_stream_that_a_snapshot_broke_is_opened_anew(server: E2BServer, sandbox: Sandbox) -> None:
    """And not found again by its pid: what was written meanwhile is kept by nobody. The old process is ended."""
    host = host_of(sandbox)
    host.run("x = 1")
    server.envd.processes.connected.clear()
    server.envd.processes.killed.clear()
    id = host.start("import time\nfor i in range(40):\n    print(i, 'ä' * 1000); time.sleep(0.01)")
    for _ in range(3):
        take(sandbox)
    assert host.finish(id) == "".join(f"{number} {'ä' * 1000}\n" for number in range(40))
    assert host.run("print(x)") == "1\n"
    host.close()
    assert server.envd.processes.connected == []
    assert server.envd.processes.killed


def test_a_stream_without_a_sign_of_life_is_broken(
    monkeypatch: pytest.MonkeyPatch, rig: Rig, server: E2BServer, sandbox: Sandbox
) -> None:
    monkeypatch.setattr(stream, "QUIET_S", 3.0)
    monkeypatch.setattr(stream, "KEEPALIVE_PING_INTERVAL_SEC", 0.1)
    again = aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    server.envd.processes.connected.clear()
    assert sh(again, "sleep 4; echo on").stdout == b"on\n"
    assert server.envd.processes.connected == []
    server.envd.processes.silent = True
    try:
        done = sh(again, "sleep 4; echo on")
    finally:
        server.envd.processes.silent = False
    assert (done.stdout, done.truncated) == (b"on\n", True)
    assert server.envd.processes.connected


def test_input_whose_fate_nobody_knows_ends_the_stream(server: E2BServer, sandbox: Sandbox) -> None:
    host = host_of(sandbox)
    host.run("x = 0")
    server.faults.add("stdin", Fault(kind="lose_reply"))
    assert host.run("x += 1\nprint(x)") == "1\n"
    host.close()


# Files ----------------------------------------------------------------------------------------------------------------


def test_files_are_streamed_and_not_forms(server: E2BServer, sandbox: Sandbox, tmp_path: Path) -> None:
    """The client's default for bytes is a form, whose name of the file is a header."""
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    server.envd.writes.clear()
    aio.run(sandbox.write_file('a "b" ä', b"1"), timeout_s=TIMEOUT_S)
    aio.run(sandbox.put_file("c", str(tmp_path / "source")), timeout_s=TIMEOUT_S)
    assert {kind for _, kind in server.envd.writes} == {"application/octet-stream"}
    assert aio.run(sandbox.read_file('a "b" ä', max_bytes=1), timeout_s=TIMEOUT_S) == b"1"


def test_a_folder_is_no_file(sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("folder/file", b"1"), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec, match="directory"):
        aio.run(sandbox.read_file("folder", max_bytes=10), timeout_s=TIMEOUT_S)


def test_a_file_that_breaks_off_is_no_file(server: E2BServer, sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("file", b"1"), timeout_s=TIMEOUT_S)
    server.faults.add("read", Fault(kind="reset"))
    with pytest.raises(ProviderUnavailable):
        aio.run(sandbox.read_file("file", max_bytes=10), timeout_s=TIMEOUT_S)


# Snapshots ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409])
def test_where_files_only_is_refused_everything_is_saved(tmp_path: Path, server: E2BServer, status: int) -> None:
    """400: the team has not got it, which is remembered. 409: the node is too old, and the next may not be."""
    with open_server(tmp_path) as (rig, server):
        sandbox = create(rig)
        server.files_only_refusal = status
        info = take(sandbox)
        assert (info.kind, server.snapshot_modes) == ("fs", ["full"])
        server.files_only_refusal = 0
        take(sandbox)
        assert server.snapshot_modes == ["full", "full" if status == 400 else "filesystem"]


def test_who_asks_for_memory_gets_it_and_its_runner_goes_on(rig: Rig, server: E2BServer, sandbox: Sandbox) -> None:
    server.snapshot_modes.clear()
    info = take(sandbox, "memory")
    assert (info.kind, server.snapshot_modes) == ("memory", ["full"])
    (child,) = restore(rig, info.ref)
    assert commands(server, child) == []


def test_who_asks_for_files_gets_no_running_runner(rig: Rig, server: E2BServer, sandbox: Sandbox) -> None:
    (child,) = restore(rig, take(sandbox).ref)
    assert "rm -f .rlm/line/socket" in commands(server, child)[0]


def test_a_runner_that_runs_in_a_copy_is_ended(sandbox: Sandbox) -> None:
    host = host_of(sandbox)
    host.run("x = 1")
    host.close()
    aio.run(machine_of(sandbox).forget_runner(), timeout_s=TIMEOUT_S)
    again = host_of(sandbox)
    assert again.run("print('x' in globals())") == "False\n"
    again.close()


def test_a_copy_has_its_own_life_variables_and_labels(rig: Rig, server: E2BServer, sandbox: Sandbox) -> None:
    one, two = restore(rig, take(sandbox).ref, count=2, lifetime_s=900, env={"A": "b"}, labels={"node": "n2"})
    assert one.ref != two.ref
    asked: Any = box_of(server, one).settings["asked"]
    assert (asked["timeout"], asked["envVars"]) == (900, {"A": "b"})
    assert asked["metadata"]["node"] == "n2"
    assert asked["templateID"].startswith("team/rlm-step-1-2-")


def test_a_lost_answer_leaves_no_forgotten_snapshot(server: E2BServer, sandbox: Sandbox) -> None:
    server.faults.add("snapshot", Fault(kind="lose_reply"))
    before = len(server.engine.snapshots)
    info = take(sandbox)
    assert len(server.engine.snapshots) == before + 1
    assert list(server.engine.snapshots)[-1] in info.ref


def test_a_copy_that_could_not_be_made_is_an_error_in_its_place(rig: Rig, server: E2BServer, sandbox: Sandbox) -> None:
    info = take(sandbox)
    server.max_running = len(server.engine.alive()) + 1
    try:
        made = restore(rig, info.ref, count=2)
    finally:
        server.max_running = 1_000_000
    assert sorted(isinstance(each, SandboxError) for each in made) == [False, True]
    (failed,) = [each for each in made if isinstance(each, SandboxError)]
    assert isinstance(failed, QuotaExceeded)


# The client -----------------------------------------------------------------------------------------------------------


def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    for name in ("E2B_API_KEY", "E2B_DOMAIN", "E2B_API_URL", "E2B_SANDBOX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("E2B_DEBUG", "true")
    sandbox = create(rig)
    assert sh(sandbox, "echo on").stdout == b"on\n"
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(NotFound):
        aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec, match="api_key"):
        E2BProvider(api_key="")
    with pytest.raises(InvalidSpec, match="E2B_SANDBOX_URL"):
        E2BProvider(api_key="k")


def test_the_client_waits_when_it_is_told_to(rig: Rig, server: E2BServer) -> None:
    server.faults.add("create", Fault(429, retry_after_s=0), times=2)
    aio.run(create(rig).terminate(), timeout_s=TIMEOUT_S)


def test_no_sandbox_of_another_request_is_given_for_a_key(rig: Rig) -> None:
    name = key()
    aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec, match="another request"):
        aio.run(rig.provider.create(replace(rig.spec, env={"A": "b"}), idempotency_key=name), timeout_s=TIMEOUT_S)


def untyped(kind: Any, message: str) -> Exception:
    """Two of the client's classes have no types."""
    error = kind(message)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (AuthenticationException("401: no"), AuthFailed),
        (SandboxException("403: no", status_code=403), AuthFailed),
        (SandboxException("403: of files"), AuthFailed),
        (SandboxException("500: no", status_code=500), ProviderUnavailable),
        (SandboxException("409: the key was used with another request", status_code=409), InvalidSpec),
        (SandboxException("409: in progress", status_code=409), NotReady),
        (untyped(RateLimitException, "429: slow down"), RateLimited),
        (untyped(RateLimitException, "429: the maximum number of concurrent E2B sandboxes"), QuotaExceeded),
        (untyped(GuestUnresponsiveException, "no"), NotReady),
        (SandboxNotFoundException("no"), NotFound),
        (SandboxNotRunningException("no"), AlreadyTerminated),
        (TimeoutException("late"), ProviderUnavailable),
        (ServiceBusyException("503"), ProviderUnavailable),
        (NotEnoughSpaceException("full"), QuotaExceeded),
        (InvalidArgumentException("bad"), InvalidSpec),
        (BuildException("step 2 failed"), InvalidSpec),
        (BuildException("500: no"), ProviderUnavailable),
        (ConnectError(Code.UNAUTHENTICATED, "no"), AuthFailed),
        (ConnectError(Code.PERMISSION_DENIED, "no"), AuthFailed),
        (ConnectError(Code.NOT_FOUND, "no"), NotFound),
        (ConnectError(Code.RESOURCE_EXHAUSTED, "no"), RateLimited),
        (ConnectError(Code.UNAVAILABLE, "The sandbox was not found"), AlreadyTerminated),
        (ConnectError(Code.UNAVAILABLE, "no"), ProviderUnavailable),
        (ConnectError(Code.INTERNAL, "no"), ProviderUnavailable),
        (KeyError("sandboxID"), ProviderUnavailable),
    ],
)
def test_errors_are_told_as_ours(error: Exception, ours: type[SandboxError]) -> None:
    told = translate(error)
    assert type(told) is ours
    assert told.provider == "e2b"
    assert told.native_type


def test_no_room_is_said_of_calls_that_need_some() -> None:
    with pytest.raises(CapacityUnavailable), translated(placing=True):
        raise ServiceBusyException("no")
    with pytest.raises(ProviderUnavailable), translated():
        raise ServiceBusyException("no")
