"""Modal: both kinds of sandboxes over its client, its traps, and the calls that we make of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import modal.experimental
import pytest
from modal.client import _Client
from modal.container_process import _ContainerProcess
from modal.io_streams import _StreamWriter

from sandboxes import aio
from sandboxes.contract import ExecResult, GpuRequest, Isolation, NetworkPolicy, Sandbox, SnapshotInfo, SnapshotRef
from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    SandboxError,
    StreamLost,
    Unsupported,
)
from sandboxes.providers.modal import ModalProvider
from sandboxes.providers.modal.provider import PLACE_TIMEOUT_S
from sandboxes.services import CREATE_TIMEOUT_S
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.engine import Box
from tests.wire.faults import Fault
from tests.wire.modal.rig import open_server
from tests.wire.modal.server import ModalServer, is_v1
from tests.wire.rig import Rig

CALLS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "Client": (_Client.__init__, {"server_url", "client_type", "credentials"}),
    "hello": (_Client.hello, set()),
    "App.lookup": (modal.App.lookup, {"name", "client", "environment_name", "create_if_missing"}),
    "Workspace.from_context": (modal.Workspace.from_context, {"client"}),
    "Image.from_registry": (modal.Image.from_registry, {"tag"}),
    "Image.debian_slim": (modal.Image.debian_slim, {"python_version"}),
    "Image.from_id": (modal.Image.from_id, {"image_id", "client"}),
    "image_delete": (modal.experimental.image_delete, {"image_id", "client"}),
    "Sandbox.create": (
        modal.Sandbox.create,
        {
            "app", "image", "name", "client", "tags", "env", "timeout", "idle_timeout", "cpu", "memory", "runtime", "gpu",
            "region", "block_network", "outbound_domain_allowlist", "outbound_cidr_allowlist",
            "_experimental_enable_snapshot",
        },
    ),
    "Sandbox.from_id": (modal.Sandbox.from_id, {"sandbox_id", "client"}),
    "Sandbox.from_name": (modal.Sandbox.from_name, {"app_name", "name", "environment_name", "client"}),
    "Sandbox.list": (modal.Sandbox.list, {"app_id", "tags", "client"}),
    "exec": (modal.Sandbox.exec, {"args", "timeout", "env", "text", "stderr"}),
    "poll": (modal.Sandbox.poll, set()),
    "get_tags": (modal.Sandbox.get_tags, set()),
    "set_tags": (modal.Sandbox.set_tags, {"tags"}),
    "snapshot_filesystem": (modal.Sandbox.snapshot_filesystem, {"timeout", "ttl"}),
    "terminate": (modal.Sandbox.terminate, set()),
    "detach": (modal.Sandbox.detach, set()),
    "_experimental_snapshot": (modal.Sandbox._experimental_snapshot, set()),
    "_experimental_from_snapshot": (modal.Sandbox._experimental_from_snapshot, {"snapshot", "client", "name"}),
    "SandboxSnapshot.from_id": (modal.SandboxSnapshot.from_id, {"sandbox_snapshot_id", "client"}),
    "process.wait": (_ContainerProcess.wait, set()),
    "stdin.write": (_StreamWriter.write, {"data"}),
    "stdin.write_eof": (_StreamWriter.write_eof, set()),
    "stdin.drain": (_StreamWriter.drain, set()),
}  # fmt: skip
H100S = GpuRequest(("H100",), 2)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, ModalServer]]:
    options = {"memory_snapshots": True, "environment": "research", "place_timeout_s": 2.0}
    with open_server(Path(tmp_path_factory.mktemp("modal")), **options) as (rig, server):
        yield rig, server
        aio.run(rig.provider.close(), timeout_s=TIMEOUT_S)
        server.engine.close()


@pytest.fixture
def rig(opened: tuple[Rig, ModalServer]) -> Rig:
    return opened[0]


@pytest.fixture
def server(opened: tuple[Rig, ModalServer]) -> ModalServer:
    return opened[1]


@pytest.fixture
def sandbox(rig: Rig) -> Iterator[Sandbox]:
    sandbox = create(rig)
    yield sandbox
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


@pytest.fixture
def with_gpus(rig: Rig) -> Iterator[Sandbox]:
    """Of the older kind, which is the only one that has GPUs."""
    sandbox = create(rig, gpu=H100S, env={"MINE": "here"})
    yield sandbox
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def box_of(server: ModalServer, sandbox: Sandbox) -> Box:
    return server.engine.boxes[json.loads(sandbox.ref)["id"]]


def sh(sandbox: Sandbox, line: str, **options: Any) -> ExecResult:
    return aio.run(sandbox.exec(["sh", "-c", line], **{"timeout_s": 30, **options}), timeout_s=TIMEOUT_S)


def take(sandbox: Sandbox, kind: Any = "fs", **options: Any) -> SnapshotInfo:
    return aio.run(sandbox.snapshot(kind, label="step", **options), timeout_s=TIMEOUT_S)


def restore(rig: Rig, ref: SnapshotRef, count: int = 1, name: str = "") -> list[Any]:
    made = rig.provider.restore(ref, rig.spec, count=count, idempotency_key=name or key())
    return list(aio.run(made, timeout_s=TIMEOUT_S))


def read(sandbox: Sandbox, path: str) -> bytes:
    return aio.run(sandbox.read_file(path, max_bytes=1000), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("name", CALLS)
def test_the_client_has_the_calls_that_we_make(name: str) -> None:
    call, used = CALLS[name]
    parameters = inspect.signature(call).parameters
    assert used <= set(parameters)
    needed = {key for key, each in parameters.items() if each.default is each.empty and each.kind is each.KEYWORD_ONLY}
    assert needed <= used


# What a spec asks for -------------------------------------------------------------------------------------------------


def test_a_spec_reaches_the_wire(rig: Rig, server: ModalServer) -> None:
    policy = NetworkPolicy("allowlist", ("*.example.org",), ("10.0.0.0/8",))
    spec = {"network": policy, "region": "eu", "cpu": 0.5, "isolation_min": Isolation.MICROVM, "labels": {"node": "7"}}
    sandbox = create(rig, **spec)
    asked = server.created[-1]
    definition = asked.definition
    assert (definition.timeout_secs, definition.idle_timeout_secs) == (600, 300)
    assert list(definition.scheduler_placement.regions) == ["eu"]
    resources = definition.resources
    assert (resources.milli_cpu, resources.milli_cpu_max) == (500, 500)
    assert (resources.memory_mb, resources.memory_mb_max) == (512, 512)
    assert definition.runtime == "vm"
    access = definition.network_access
    assert access.network_access_type == access.ALLOWLIST
    assert (list(access.allowed_domains), list(access.allowed_cidrs)) == (["*.example.org"], ["10.0.0.0/8"])
    assert {"node", "rlmweb"} <= {tag.tag_name for tag in asked.tags}
    assert not is_v1(box_of(server, sandbox).id)
    info = aio.run(sandbox.info(), timeout_s=TIMEOUT_S)
    assert info.isolation is Isolation.MICROVM
    assert info.expires_at == pytest.approx(info.created_at + 600)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def test_blocked_is_blocked(server: ModalServer, sandbox: Sandbox) -> None:
    access = server.created[-1].definition.network_access
    assert access.network_access_type == access.BLOCKED


def test_the_image_has_our_python_and_is_asked_for_once(rig: Rig, server: ModalServer, sandbox: Sandbox) -> None:
    own = f"python:{sys.version_info.major}.{sys.version_info.minor}"
    lines = server.images[server.created[-1].definition.image_id]
    assert any(own in line for line in lines), lines
    before = dict(server.images)
    aio.run(create(rig).terminate(), timeout_s=TIMEOUT_S)
    assert server.images == before


def test_a_session_may_name_an_image_of_a_registry(rig: Rig, server: ModalServer) -> None:
    sandbox = create(rig, image="ghcr.io/example/tools:7")
    lines = server.images[server.created[-1].definition.image_id]
    assert any("ghcr.io/example/tools:7" in line for line in lines), lines
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def test_the_app_is_in_the_environment_of_the_settings(server: ModalServer, sandbox: Sandbox) -> None:
    assert set(server.environments) == {"research"}
    assert list(server.apps) == ["rlmweb"]


# GPUs -----------------------------------------------------------------------------------------------------------------


def test_gpus_are_asked_for_by_type_and_count(server: ModalServer, with_gpus: Sandbox) -> None:
    config = server.created[-1].definition.resources.gpu_config
    assert (config.gpu_type, config.count) == ("H100", 2)
    assert is_v1(box_of(server, with_gpus).id)
    assert sh(with_gpus, "printf $MINE").stdout == b"here"


def test_a_session_runs_beside_gpus(rig: Rig, with_gpus: Sandbox) -> None:
    host = host_of(with_gpus)
    host.run("x = 41; open('kept', 'w').write('here')")
    assert host.run("print(x + 1)") == "42\n"
    host.close()
    again = aio.run(rig.provider.get(with_gpus.ref), timeout_s=TIMEOUT_S)
    assert read(again, "kept") == b"here"
    copy = restore(rig, take(with_gpus).ref)[0]
    assert read(copy, "kept") == b"here"
    aio.run(copy.terminate(), timeout_s=TIMEOUT_S)


def test_the_next_gpu_is_taken_when_the_first_is_not_to_be_had(rig: Rig, server: ModalServer) -> None:
    server.no_room_for = {"B200"}
    sandbox = create(rig, gpu=GpuRequest(("B200", "H100")))
    assert box_of(server, sandbox).settings["gpu"] == "H100"
    assert [box.settings["gpu"] for box in server.engine.alive() if box.settings["gpu"]] == ["H100"]
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def test_there_is_time_left_for_the_next_provider() -> None:
    assert PLACE_TIMEOUT_S < CREATE_TIMEOUT_S


def test_a_gpu_that_is_not_to_be_had_leaves_nothing_behind(rig: Rig, server: ModalServer) -> None:
    server.no_room_for = {"H100"}
    with pytest.raises(CapacityUnavailable, match="H100"):
        create(rig, gpu=GpuRequest(("H100",)))
    server.no_room_for = set()
    assert not [box for box in server.engine.alive() if box.settings["gpu"]]


# Finding --------------------------------------------------------------------------------------------------------------


def test_a_list_has_all_pages_and_none_that_ended(rig: Rig, server: ModalServer) -> None:
    label = key()
    made = [create(rig, labels={"list": label}, **({"gpu": H100S} if number == 3 else {})) for number in range(8)]
    server.engine.terminate(box_of(server, made[0]).id)
    found = aio.run(rig.provider.list({"list": label}), timeout_s=TIMEOUT_S)
    assert {info.ref for info in found} == {sandbox.ref for sandbox in made[1:]}
    for sandbox in made:
        aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


def test_the_name_is_free_again_when_its_sandbox_has_ended(rig: Rig) -> None:
    name = key()
    first = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    aio.run(first.terminate(), timeout_s=TIMEOUT_S)
    second = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert second.ref != first.ref
    aio.run(second.terminate(), timeout_s=TIMEOUT_S)


def test_whoever_ended_a_sandbox_is_told_so_without_a_call(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(AlreadyTerminated):
        sh(sandbox, "true")
    with pytest.raises(NotFound):
        aio.run(sandbox.info(), timeout_s=TIMEOUT_S)


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_token_for_the_router_that_has_run_out_is_renewed(server: ModalServer, sandbox: Sandbox) -> None:
    assert sh(sandbox, "echo 1").stdout == b"1\n"
    machine = sandbox.machine  # type: ignore[attr-defined]
    box = box_of(server, sandbox)
    server.router.tokens.clear()  # what the client has is not valid any more
    client = aio.run(machine._sandbox._get_command_router_client.aio(server._task(box)), timeout_s=TIMEOUT_S)
    client._jwt_exp = 0.0
    assert sh(sandbox, "echo 2").stdout == b"2\n"


def test_output_goes_on_where_its_stream_broke(rig: Rig, sandbox: Sandbox) -> None:
    assert rig.faults is not None
    faults, done = rig.faults, threading.Event()

    def drop() -> None:
        while not done.wait(0.05):
            faults.drop_streams()

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        said = sh(sandbox, "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done; exit 3")
    finally:
        done.set()
        thread.join()
    assert (said.exit_code, said.stdout.split()) == (3, b"1 2 3 4 5 6 7 8".split())


def test_a_command_that_does_not_read_its_input_is_no_error(sandbox: Sandbox) -> None:
    assert sh(sandbox, "exec 0<&-; sleep 0.2; exit 7").exit_code == 7


def test_too_many_words_are_said_to_be_that(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidSpec, match="65536"):
        aio.run(sandbox.exec(["echo", "x" * 70_000], timeout_s=5), timeout_s=TIMEOUT_S)


def test_a_file_that_cannot_be_written_says_why(sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("plain", b"x"), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec, match="plain"):
        aio.run(sandbox.write_file("plain/below", b"y" * 3_000_000), timeout_s=TIMEOUT_S)
    assert read(sandbox, "plain") == b"x"


def test_input_that_does_not_arrive_leaves_no_file_and_no_process(
    rig: Rig, server: ModalServer, sandbox: Sandbox
) -> None:
    """The rest of it would be waited for, and a part of a file would be taken for the whole."""
    assert rig.faults is not None
    rig.faults.add("stdin", Fault(403))
    with pytest.raises(AuthFailed):
        aio.run(sandbox.write_file("half", b"x" * 3_000_000), timeout_s=TIMEOUT_S)
    with pytest.raises(NotFound):
        read(sandbox, "half")
    writers = [each for each in server.router.running.values() if "cat >" in " ".join(each.request.command_args)]
    assert [each for each in writers if each.process.returncode is None] == []


def test_letting_go_of_the_line_ends_its_process(server: ModalServer, sandbox: Sandbox) -> None:
    host = host_of(sandbox)

    def attached() -> list[Any]:
        running = [each for each in server.router.running.values() if "attach" in each.request.command_args]
        return [each for each in running if each.process.returncode is None]

    mine = attached()
    assert mine
    host.close()
    loop = asyncio.new_event_loop()
    for each in mine:
        assert loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(each.process.popen.wait), 10)) is not None
    loop.close()


def test_a_line_to_a_sandbox_that_is_gone_is_lost(rig: Rig, server: ModalServer) -> None:
    sandbox = create(rig)
    channel = aio.run(sandbox.open_channel(), timeout_s=TIMEOUT_S)
    server.engine.terminate(box_of(server, sandbox).id)
    with pytest.raises(StreamLost):
        aio.run(channel.send_line(b"{}"), timeout_s=TIMEOUT_S)
    with pytest.raises((AlreadyTerminated, NotFound)):
        aio.run(channel.reattach(), timeout_s=TIMEOUT_S)


# Snapshots ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_kept_until_deleted_unless_it_is_given_an_end(server: ModalServer, sandbox: Sandbox) -> None:
    """The vendor's own default is 30 days."""
    kept, ending = take(sandbox), take(sandbox, ttl_s=90.2)
    assert [request.ttl_seconds for request in server.router.snapshots[-2:]] == [-1, 91]
    assert kept.expires_at is None
    assert ending.expires_at == pytest.approx(ending.created_at + 91)


def test_memory_is_saved_where_it_is_allowed(rig: Rig, server: ModalServer, sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("file", b"here"), timeout_s=TIMEOUT_S)
    info = take(sandbox, "memory")
    assert info.expires_at == pytest.approx(info.created_at + 7 * 86_400)
    name = key()
    one = restore(rig, info.ref, name=name)[0]
    assert read(one, "file") == b"here"
    assert aio.run(one.info(), timeout_s=TIMEOUT_S).labels["rlmweb"] == "1"
    assert restore(rig, info.ref, name=name)[0].ref == one.ref
    aio.run(rig.provider.delete_snapshot(info.ref), timeout_s=TIMEOUT_S)  # it ends by itself: nothing is asked
    aio.run(one.terminate(), timeout_s=TIMEOUT_S)


def test_a_copy_of_memory_that_lost_its_maker_is_found_by_its_tags(rig: Rig, sandbox: Sandbox) -> None:
    assert rig.faults is not None
    ref, name = take(sandbox, "memory").ref, key()
    rig.faults.add("write", Fault(403))
    assert isinstance(restore(rig, ref, name=name)[0], SandboxError)
    again = restore(rig, ref, name=name)[0]
    assert aio.run(again.info(), timeout_s=TIMEOUT_S).labels["rlmweb"] == "1"
    aio.run(again.terminate(), timeout_s=TIMEOUT_S)


def test_memory_is_not_saved_beside_gpus(with_gpus: Sandbox) -> None:
    with pytest.raises((Unsupported, ProviderUnavailable)):
        take(with_gpus, "memory")


def test_memory_is_not_restored_where_it_is_not_allowed(rig: Rig, sandbox: Sandbox) -> None:
    ref = take(sandbox, "memory").ref
    other = ModalProvider(token_id="ak-x", token_secret="as-x")
    with pytest.raises(Unsupported, match="memory_snapshot"):
        aio.run(other.restore(ref, rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    assert not other.capabilities()["memory_snapshot"].value


def test_many_copies_of_one_snapshot_at_once(rig: Rig, sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("file", b"here"), timeout_s=TIMEOUT_S)
    made = restore(rig, take(sandbox).ref, count=6)
    assert not [each for each in made if isinstance(each, SandboxError)]
    assert len({each.ref for each in made}) == 6
    assert {read(each, "file") for each in made} == {b"here"}
    for each in made:
        aio.run(each.terminate(), timeout_s=TIMEOUT_S)


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_check_of_the_key_tells_what_the_account_pays(rig: Rig, server: ModalServer) -> None:
    """No published rate is one of sandboxes: the account is asked."""
    assert "cpu_core_hour 0.1419, memory_gib_hour 0.024" in aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S)
    before, server.rates = server.rates, None
    assert "not told" in aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S)
    server.rates = before


def test_a_provider_without_a_key_says_so() -> None:
    with pytest.raises(InvalidSpec, match="token_secret"):
        ModalProvider(token_id="ak-x", token_secret="")


def test_headers_are_not_logged_with_the_secret_in_them() -> None:
    assert not logging.getLogger("hpack.hpack").isEnabledFor(logging.DEBUG)


def test_two_keys_in_one_process_do_not_mix(rig: Rig, server: ModalServer, sandbox: Sandbox) -> None:
    assert rig.with_wrong_key is not None
    wrong = rig.with_wrong_key()
    with pytest.raises(SandboxError):
        aio.run(wrong.ping(), timeout_s=TIMEOUT_S)
    assert sh(sandbox, "echo 1").stdout == b"1\n"
    aio.run(wrong.close(), timeout_s=TIMEOUT_S)


def test_a_call_that_fails_for_a_while_is_tried_again_by_the_client(rig: Rig, sandbox: Sandbox) -> None:
    assert rig.faults is not None
    rig.faults.add("exec", Fault(503), times=2)
    assert sh(sandbox, "echo 1").stdout == b"1\n"
