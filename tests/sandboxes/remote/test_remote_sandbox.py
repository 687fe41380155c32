"""The runner behind a vendor's streams: found, started once, reached again, shared with side clients."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes import aio
from sandboxes.errors import InvalidSpec, NotFound, SandboxError
from sandboxes.frames import Finished, Output, RunnerFrame, Setup, SetupDone, SnapshotDone, SnapshotTaken
from sandboxes.link import RunnerLink
from sandboxes.manifest import decode_manifest
from sandboxes.remote.hub import SOCKET
from sandboxes.remote.sandbox import RemoteSandbox
from sandboxes.runner_env import RUNNER_ENV
from sandboxes.side import SideLink
from tests.wire.direct import DirectMachine
from tests.wire.engine import Box, Engine

TIMEOUT_S = 30


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def box(engine: Engine) -> Box:
    return engine.create()


@pytest.fixture
def sandbox(engine: Engine, box: Box) -> RemoteSandbox:
    return RemoteSandbox(DirectMachine(engine, box))


class Host:
    def __init__(self, sandbox: RemoteSandbox) -> None:
        self.frames: queue.Queue[RunnerFrame | SandboxError] = queue.Queue()
        self.link = RunnerLink(sandbox, self.frames.put, self.frames.put)
        self.state = self.link.attach(0, timeout_s=TIMEOUT_S)

    def wait(self, kind: type[RunnerFrame]) -> RunnerFrame:
        while True:
            frame = self.frames.get(timeout=TIMEOUT_S)
            if isinstance(frame, SandboxError):
                raise frame
            if isinstance(frame, kind):
                return frame

    def run(self, id: str, code: str) -> str:
        """What it printed."""
        self.link.execute(id, code)
        text = ""
        while True:
            frame = self.frames.get(timeout=TIMEOUT_S)
            if isinstance(frame, SandboxError):
                raise frame
            if isinstance(frame, Output) and frame.cell == id:
                text += frame.text
            if isinstance(frame, Finished) and frame.cell == id:
                assert frame.status == "ok", frame.error
                return text


@pytest.fixture
def host(sandbox: RemoteSandbox) -> Iterator[Host]:
    host = Host(sandbox)
    host.link.setup(Setup(id="setup"))
    host.wait(SetupDone)
    yield host
    host.link.close()


def test_cells_run_and_state_stays(host: Host) -> None:
    assert host.run("a", "x = 41") == ""
    assert host.run("b", "print(x + 1)") == "42\n"


def test_code_finds_what_makes_it_repeatable_and_copyable(host: Host) -> None:
    code = f"import os; print({{name: os.environ.get(name) for name in {sorted(RUNNER_ENV)!r}}} == {RUNNER_ENV!r})"
    assert host.run("a", code) == "True\n"


def test_a_broken_stream_loses_nothing(engine: Engine, box: Box, host: Host) -> None:
    host.run("a", "x = 41")
    for process in list(box.processes.values()):
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)  # the `attach` of the host; the hub is no child of it
    assert host.run("b", "print(x + 1)") == "42\n"


def test_another_host_takes_over(sandbox: RemoteSandbox, host: Host) -> None:
    host.run("a", "x = 41")
    second = Host(sandbox)
    assert second.state.setup == "setup"
    assert second.run("b", "print(x + 1)") == "42\n"
    second.link.close()


def test_snapshots_and_side_channels_work_as_at_home(sandbox: RemoteSandbox, host: Host) -> None:
    host.run("a", "x = [1, 2]")
    host.link.snapshot("s1")
    assert host.wait(SnapshotTaken).live  # type: ignore[union-attr]
    done = host.wait(SnapshotDone)
    assert isinstance(done, SnapshotDone)
    assert done.manifest is not None
    manifest = decode_manifest(host.link.read_payload(done.manifest, 1 << 20))
    assert [variable.name for variable in manifest.variables] == ["x"]
    side = SideLink(sandbox)
    said = side.evaluate("s1", "sum(x)")
    assert said.value is not None
    assert said.value.text == "3"
    side.close()


def test_the_runner_is_started_once(box: Box, host: Host, sandbox: RemoteSandbox) -> None:
    aio.run(sandbox.start_runner(), timeout_s=TIMEOUT_S)
    assert host.run("a", "print(1)") == "1\n"
    assert (box.folder / "workspace" / SOCKET).is_socket()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "x" * 2000])
def test_paths_stay_in_the_workspace(sandbox: RemoteSandbox, path: str) -> None:
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.read_file(path, max_bytes=10))


def test_files_pass_unchanged(sandbox: RemoteSandbox, tmp_path: Path) -> None:
    data = bytes(range(256)) * 100
    (tmp_path / "source").write_bytes(data)
    aio.run(sandbox.put_file("deep/er/file", str(tmp_path / "source")))
    assert aio.run(sandbox.read_file("deep/er/file", max_bytes=len(data))) == data
    assert aio.run(sandbox.get_file("deep/er/file", str(tmp_path / "target"), max_bytes=len(data))) == len(data)
    assert (tmp_path / "target").read_bytes() == data
    with pytest.raises(NotFound):
        aio.run(sandbox.read_file("nothing", max_bytes=10))
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.read_file("deep/er/file", max_bytes=10))
