"""What every provider has to do; a case is left out only where a capability says so.

To add a provider: a factory in `PROVIDERS`, and its known gaps with reasons in `GAPS`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandboxes import aio
from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, Provider, Sandbox, SandboxRef, SandboxState, Spec
from sandboxes.errors import ExecTimeout, InvalidSpec, NotFound, StreamLost
from tests.sandboxes.service import service

GAPS: dict[str, dict[str, str]] = {"local": {}}


@pytest.fixture(scope="module")
def local() -> Iterator[Provider]:
    with service("--pool", "1") as started:
        yield started.provider


@pytest.fixture(params=["local"])
def provider(request: pytest.FixtureRequest) -> Provider:
    gap = GAPS[request.param].get(request.node.originalname)
    if gap:
        pytest.skip(f"{request.param}: {gap}")
    made: Provider = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def sandbox(provider: Provider) -> Iterator[Sandbox]:
    made = aio.run(provider.create(Spec(labels={"test": "contract"}), idempotency_key=uuid4().hex))
    yield made
    aio.run(made.terminate())


def run(argv: list[str], sandbox: Sandbox, **options: Any) -> Any:
    return aio.run(sandbox.exec(argv, **{"timeout_s": 20.0, **options}))


# Create, find, end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [
    Spec(gpu=GpuRequest(("NO-SUCH-GPU",))), Spec(memory_mb=0), Spec(disk_mb=0), Spec(max_processes=0),
    Spec(image="no/such-image:ever"), Spec(isolation_min=Isolation.MICROVM), Spec(network=NetworkPolicy("open")),
])  # fmt: skip
def test_what_cannot_be_served_is_refused_before_anything_is_spent(provider: Provider, spec: Spec) -> None:
    assert provider.validate(spec)
    with pytest.raises(InvalidSpec):
        aio.run(provider.create(spec, idempotency_key=uuid4().hex))


def test_a_repeated_create_makes_one_sandbox(provider: Provider) -> None:
    key = uuid4().hex
    futures = [aio.submit(_create(provider, key)) for _ in range(5)]
    made = [future.result(60) for future in futures]
    assert len({sandbox.ref for sandbox in made}) == 1
    aio.run(made[0].terminate())
    again = aio.run(provider.create(Spec(), idempotency_key=key))
    assert again.ref != made[0].ref, "the key of a sandbox that is gone makes a new one"
    aio.run(again.terminate())


async def _create(provider: Provider, key: str) -> Sandbox:
    return await provider.create(Spec(), idempotency_key=key)


def test_a_reference_is_json_text_and_finds_the_sandbox(provider: Provider, sandbox: Sandbox) -> None:
    assert json.loads(sandbox.ref)["provider"] == provider.name
    info = aio.run(aio_get(provider, sandbox.ref))
    assert (info.ref, info.state) == (sandbox.ref, SandboxState.RUNNING)


async def aio_get(provider: Provider, ref: SandboxRef) -> Any:
    return await (await provider.get(ref)).info()


@pytest.mark.parametrize(
    "ref", ["", "null", "{}", '{"provider": "other", "id": "x"}', '{"provider": "local", "id": "x"}']
)
def test_a_reference_to_nothing_is_not_found(provider: Provider, ref: str) -> None:
    with pytest.raises(NotFound):
        aio.run(provider.get(SandboxRef(ref)))


def test_sandboxes_are_listed_by_their_labels(provider: Provider, sandbox: Sandbox) -> None:
    assert sandbox.ref in [info.ref for info in aio.run(provider.list({"test": "contract"}))]
    assert aio.run(provider.list({"test": uuid4().hex})) == []


def test_terminate_may_be_repeated_and_what_follows_says_not_found(provider: Provider) -> None:
    sandbox = aio.run(provider.create(Spec(), idempotency_key=""))
    aio.run(sandbox.terminate())
    aio.run(sandbox.terminate())
    for call in (sandbox.info(), provider.get(sandbox.ref), sandbox.write_file("a", b""), sandbox.open_channel()):
        with pytest.raises(NotFound):
            aio.run(_await(call))


async def _await(call: Awaitable[Any]) -> Any:
    return await call


def test_ping_says_something_for_the_user(provider: Provider) -> None:
    assert aio.run(provider.ping())


# Commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_an_exit_code_is_a_result(sandbox: Sandbox, command: str, code: int) -> None:
    assert run(["sh", "-c", command], sandbox).exit_code == code


def test_a_missing_program_is_a_result(sandbox: Sandbox) -> None:
    assert run(["no-such-program"], sandbox).exit_code in (126, 127)


def test_streams_are_separate_and_binary(sandbox: Sandbox) -> None:
    result = run(["sh", "-c", r"printf '\377\000a'; printf b >&2"], sandbox)
    assert (result.stdout, result.stderr) == (b"\xff\x00a", b"b")


def test_long_output_is_cut_and_says_so(sandbox: Sandbox) -> None:
    result = run(["sh", "-c", "echo start; head -c 5000000 /dev/zero; echo end"], sandbox, max_output_bytes=100_000)
    assert result.truncated
    assert len(result.stdout) <= 100_000
    assert result.stdout.startswith(b"start")
    assert result.stdout.endswith(b"end\n")


def test_the_deadline_kills_the_process_tree(sandbox: Sandbox) -> None:
    with pytest.raises(ExecTimeout):
        run(["sh", "-c", "(while :; do date +%s%N > beat; sleep 0.02; done) & sleep 60"], sandbox, timeout_s=0.5)
    first = aio.run(sandbox.read_file("beat", max_bytes=100))
    run(["sleep", "0.2"], sandbox)
    assert aio.run(sandbox.read_file("beat", max_bytes=100)) == first


def test_folder_and_environment_are_as_asked(sandbox: Sandbox) -> None:
    run(["mkdir", "inner"], sandbox)
    result = run(["sh", "-c", "basename $(pwd); echo $COLOUR"], sandbox, cwd="inner", env={"COLOUR": "red"})
    assert result.stdout == b"inner\nred\n"


# Files -------------------------------------------------------------------------------------------------------------


def test_binary_files_come_back_as_they_were(sandbox: Sandbox, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    aio.run(sandbox.write_file("deep/er/file.bin", data))
    assert aio.run(sandbox.read_file("deep/er/file.bin", max_bytes=10**7)) == data
    source = tmp_path / "source"
    source.write_bytes(data)
    aio.run(sandbox.put_file(".rlm/in/context", str(source)))
    assert run(["sh", "-c", "wc -c < .rlm/in/context"], sandbox).stdout.split() == [str(len(data)).encode()]
    assert run(["sh", "-c", "echo x >> .rlm/in/context"], sandbox).exit_code != 0, "it is read-only for the code"


def test_files_of_the_code_are_read_and_missing_ones_are_missing(sandbox: Sandbox) -> None:
    run(["sh", "-c", "echo made > made"], sandbox)
    assert aio.run(sandbox.read_file("made", max_bytes=100)) == b"made\n"
    with pytest.raises(NotFound):
        aio.run(sandbox.read_file("missing", max_bytes=100))
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.read_file("made", max_bytes=2))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "link", "folder/passwd"])
def test_no_path_leads_out_of_the_workspace(sandbox: Sandbox, path: str) -> None:
    run(["sh", "-c", "ln -s /etc/passwd link; ln -s /etc folder"], sandbox)
    with pytest.raises((InvalidSpec, NotFound)):
        aio.run(sandbox.read_file(path, max_bytes=10**6))


# The channel -------------------------------------------------------------------------------------------------------


def attach(id: str = "a", after: int = 0) -> bytes:
    return json.dumps({"type": "attach", "id": id, "after": after}).encode()


def test_ten_thousand_lines_arrive_in_order(sandbox: Sandbox) -> None:
    async def scenario() -> list[int]:
        channel = await sandbox.open_channel()
        await channel.send_lines([attach(), *(f'{{"type": "nonsense", "id": "{i}"}}'.encode() for i in range(10_000))])
        seen: list[int] = []
        async for frame in _frames(channel.lines()):
            if frame["type"] == "error":
                seen.append(int(frame["id"]))
                if len(seen) == 10_000:
                    break
        await channel.close()
        return seen

    assert aio.run(scenario(), timeout_s=60) == list(range(10_000))


async def _frames(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        yield json.loads(line)


def test_a_line_of_almost_the_limit_passes_and_a_longer_one_is_refused(sandbox: Sandbox) -> None:
    async def scenario() -> dict[str, Any]:
        channel = await sandbox.open_channel()
        code = "x = '" + "y" * 1_000_000 + "'; print(len(x))"
        execute = json.dumps({"type": "exec", "id": "x", "code": {"text": code}}).encode()
        with pytest.raises(InvalidSpec):
            await channel.send_line(b"x" * (1 << 20))
        await channel.send_lines([attach(), execute])
        async for frame in _frames(channel.lines()):
            if frame["type"] == "output":
                await channel.close()
                return frame
        raise AssertionError("the channel ended")

    assert aio.run(scenario(), timeout_s=60)["text"] == "1000000\n"


def test_a_cut_stream_comes_back_without_loss_or_repetition(sandbox: Sandbox) -> None:
    async def scenario() -> list[int]:
        channel = await sandbox.open_channel()
        code = {"text": "for i in range(3000): print(i)"}
        await channel.send_lines([attach(), json.dumps({"type": "exec", "id": "x", "code": code}).encode()])
        seqs: list[int] = []
        for round in itertools.count():
            async for frame in _frames(channel.lines()):
                if "seq" in frame and frame["seq"] > (seqs[-1] if seqs else 0):
                    seqs.append(frame["seq"])
                if frame["type"] == "finished":
                    await channel.close()
                    return seqs
                if round < 5 and len(seqs) > 2 * round:
                    break
            await channel.reattach()
            await channel.send_line(attach(f"r{round}", seqs[-1] if seqs else 0))
        raise AssertionError

    seqs = aio.run(scenario(), timeout_s=60)
    assert seqs == list(range(1, len(seqs) + 1))


def test_the_newest_channel_wins(sandbox: Sandbox) -> None:
    async def scenario() -> str:
        first, second = await sandbox.open_channel(), await sandbox.open_channel()
        with pytest.raises(StreamLost) as lost:
            async for _ in first.lines():
                pass
        assert not lost.value.resumable, "it would take the runner back, and so on"
        await first.close()
        await second.send_line(attach("second"))
        async for frame in _frames(second.lines()):
            await second.close()
            return str(frame["id"])
        return ""

    assert aio.run(scenario(), timeout_s=30) == "second"


def test_the_code_has_no_network(sandbox: Sandbox) -> None:
    script = (
        "import socket\ntry:\n  socket.create_connection(('192.0.2.1', 53), 1)\nexcept OSError as e: print('refused')"
    )
    aio.run(sandbox.write_file("net.py", script.encode()))
    python = _python(sandbox)
    assert run([python, "net.py"], sandbox).stdout == b"refused\n"


def _python(sandbox: Sandbox) -> str:
    """The interpreter of the sandbox, as its runner says."""

    async def scenario() -> str:
        channel = await sandbox.open_channel()
        code = {"text": "import sys; print(sys.executable)"}
        await channel.send_lines([attach(), json.dumps({"type": "exec", "id": "p", "code": code}).encode()])
        async for frame in _frames(channel.lines()):
            if frame["type"] == "output":
                await channel.close()
                return str(frame["text"]).strip()
        raise AssertionError

    return aio.run(scenario(), timeout_s=30)
