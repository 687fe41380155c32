"""The life of the service and of its sandboxes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandboxes import aio
from sandboxes.contract import Spec
from sandboxes.errors import InvalidSpec, NotFound, ProviderUnavailable, SandboxError
from sandboxes.local.service import EXIT_NO_TIER, EXIT_TAKEN
from sandboxes.providers.local import LocalProvider
from tests.sandboxes.conftest import TIERS
from tests.sandboxes.service import Linked, Service, is_gone, service, wait_for

ESCAPERS = (
    "import os, signal, time\nfor session in (True, False):\n  if os.fork() == 0:\n    if session: os.setsid()\n"
    "    os.fork(); signal.signal(1, signal.SIG_IGN); time.sleep(600)\nprint('forked')"
)


@pytest.mark.parametrize("tier", TIERS)
def test_a_killed_service_leaves_no_process_behind(tier: str) -> None:
    with service("--pool", "1") as own:
        _require(own, tier)
        linked = Linked(own.provider, Spec(tier=tier))
        assert linked.run(ESCAPERS).stdout == "forked\n"
        inside = own.processes()
        assert len(inside) >= 6
        own.kill()
        wait_for(lambda: all(is_gone(pid) for pid in inside))


@pytest.mark.parametrize("tier", TIERS)
def test_terminate_leaves_no_process_behind_and_may_be_repeated(tier: str) -> None:
    with service("--pool", "0") as own:
        _require(own, tier)
        linked = Linked(own.provider, Spec(tier=tier))
        linked.run(ESCAPERS)
        inside = own.processes()
        aio.run(linked.sandbox.terminate())
        aio.run(linked.sandbox.terminate())
        wait_for(lambda: all(is_gone(pid) for pid in inside))
        with pytest.raises(NotFound, match="it was terminated"):
            aio.run(linked.sandbox.info())
        assert os.listdir(own.folder / "s.boxes" / "boxes") == []


def _require(own: Service, tier: str) -> None:
    reason = aio.run(own.provider.tiers()).get(tier, "not known")
    if reason:
        pytest.skip(f"{tier}: {reason}")


def test_a_lost_sandbox_and_a_lost_service_are_told_apart() -> None:
    with service("--pool", "0") as own:
        sandbox = aio.run(own.provider.create(Spec(), idempotency_key="k"))
        os.kill(own.processes()[0], signal.SIGKILL)
        wait_for(lambda: _error(own.provider, sandbox.ref) is NotFound)
        own.kill()
        assert _error(own.provider, sandbox.ref) is ProviderUnavailable


def _error(provider: LocalProvider, ref: object) -> type[SandboxError] | None:
    try:
        aio.run(provider.get(ref))  # type: ignore[arg-type]
    except SandboxError as error:
        return type(error)
    return None


def test_a_second_service_on_the_same_socket_steps_back(local_service: Service) -> None:
    command = [sys.executable, "-m", "sandboxes.local.service", "--socket", str(local_service.socket)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == EXIT_TAKEN
    assert "another local sandbox service" in second.stderr
    assert "tier" in aio.run(local_service.provider.ping())


def test_without_a_tier_the_service_refuses_and_names_the_reasons(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandboxes.local.service", "--socket", "s.sock", "--tier", "none"]
    refused = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, timeout=30
    )
    assert refused.returncode == EXIT_NO_TIER
    assert "bubblewrap, landlock" in refused.stderr


def test_several_clients_start_one_service(tmp_path: Path) -> None:
    with service() as own:
        path = own.folder / "auto.sock"
        providers = [LocalProvider(path, autostart=True, pool=0) for _ in range(4)]
        futures = [aio.submit(provider.ping()) for provider in providers]
        assert len({future.result(30) for future in futures}) == 1
        pid = int((own.folder / "auto.sock.lock").read_text())
        assert not is_gone(pid)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: is_gone(pid))
        assert not path.exists()


def test_the_pool_hands_out_and_fills_up_again() -> None:
    with service("--pool", "2") as own:
        wait_for(lambda: _pooled(own) == 2)
        waiting = set(own.processes())
        sandbox = aio.run(own.provider.create(Spec(labels={"a": "1"}), idempotency_key="k"))
        assert aio.run(own.provider.list({"a": "1"}))[0].ref == sandbox.ref
        assert aio.run(own.provider.list({"a": "2"})) == []
        wait_for(lambda: _pooled(own) == 2)
        assert len(waiting & set(own.processes())) == len(waiting), "the one handed out was one that waited"


def _pooled(own: Service) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(own.socket))
        client.sendall(b'{"id": 1, "op": "ping"}\n')
        return int(json.loads(client.makefile().readline())["ok"]["pool"])


def test_a_dead_sandbox_in_the_pool_is_not_handed_out() -> None:
    with service("--pool", "1") as own:
        wait_for(lambda: _pooled(own) == 1)
        killed = own.processes()[0]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: is_gone(killed))
        linked = Linked(own.provider, Spec())
        assert linked.run("print('alive')").stdout == "alive\n"


def test_the_end_of_its_life_and_idleness_end_a_sandbox() -> None:
    with service("--pool", "0") as own:
        for spec, reason in ((Spec(lifetime_s=1), "lifetime"), (Spec(idle_s=1), "idle")):
            sandbox = aio.run(own.provider.create(spec, idempotency_key=""))
            wait_for(lambda ref=sandbox.ref: _error(own.provider, ref) is NotFound)  # type: ignore[misc]
            with pytest.raises(NotFound, match=reason):
                aio.run(sandbox.info())


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"{}\n", b"[]\n", b'{"id": 1, "op": "fly"}\n', b'{"id": 1, "op": []}\n']
)
def test_a_bad_request_is_answered(local_service: Service, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(local_service.socket))
        client.sendall(line)
        assert json.loads(client.makefile().readline())["error"]["type"] in ("InvalidSpec", "ProviderUnavailable")


@pytest.mark.parametrize("fields", [
    {"memory_mb": 1}, {"memory_mb": "2048"}, {"unknown": 1}, {"env": {"A": 1}}, {"env": {"A=B": "c"}}, {"tier": "vm"},
])  # fmt: skip
def test_a_spec_that_cannot_be_served_is_refused(local_service: Service, fields: dict[str, object]) -> None:
    client = local_service.provider._client
    with pytest.raises(InvalidSpec):
        aio.run(client.request("create", spec=fields, key=""))


def test_the_environment_in_a_sandbox_is_a_fixed_list(tier: str, provider: LocalProvider) -> None:
    sandbox = aio.run(provider.create(Spec(tier=tier, env={"MINE": "yes"}), idempotency_key=""))
    shown = aio.run(sandbox.exec(["env"], timeout_s=10)).stdout.decode()
    names = {line.partition("=")[0] for line in shown.splitlines()}
    aio.run(sandbox.terminate())
    tuning = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "JE_ARROW_MALLOC_CONF", "GLIBC_TUNABLES", "PYTHONHASHSEED"}
    assert names - {"PWD", "_", "SHLVL"} == {"PATH", "LANG", "HOME", "MINE", *tuning}


def test_a_gigabyte_of_context_loads_within_its_memory(tmp_path: Path, provider: LocalProvider) -> None:
    from sandboxes.frames import ContextFile, Setup, SetupDone

    source = tmp_path / "big"
    with open(source, "wb") as stream:
        for _ in range(1000):
            stream.write(b"0123456789" * 100_000)
    for memory_mb, fits in ((1500, True), (700, False)):
        linked = Linked(provider, Spec(memory_mb=memory_mb))
        aio.run(linked.sandbox.put_file(".rlm/in/big", str(source)))
        linked.link.setup(Setup(id="s", contexts=[ContextFile(path=".rlm/in/big")]))
        done = linked.wait(lambda f: isinstance(f, SetupDone))
        assert isinstance(done, SetupDone)
        if fits:
            assert done.error is None
            assert linked.run("print(len(context))").stdout == "1000000000\n"
        else:
            assert done.error is not None
            assert done.error.type == "MemoryError"
            assert "1,000,000,000 bytes" in done.error.message
        linked.close()
