"""7. Life: found again by another process, ended once or more often, ended by its own limits."""

from __future__ import annotations

import threading
import time

import pytest

from sandboxes import aio
from sandboxes.contract import SandboxRef
from sandboxes.errors import AlreadyTerminated, ExecTimeout, NotFound, SandboxError
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, key
from tests.wire.rig import Rig


def test_it_is_found_again_by_its_reference(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.write_file("file", b"here"), timeout_s=TIMEOUT_S)
    again = aio.run(rig.provider.get(SandboxRef(str(sandbox.ref))), timeout_s=TIMEOUT_S)
    assert aio.run(again.read_file("file", max_bytes=10), timeout_s=TIMEOUT_S) == b"here"


def test_ending_it_twice_is_no_error_and_then_it_is_gone(rig: Rig) -> None:
    sandbox = create(rig)
    for _ in range(2):
        aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    with pytest.raises(NotFound):
        aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    with pytest.raises((AlreadyTerminated, NotFound)):
        aio.run(sandbox.exec(["true"], timeout_s=5), timeout_s=TIMEOUT_S)
    if rig.engine is not None:
        assert all(box.id not in sandbox.ref for box in rig.engine.alive())


@pytest.mark.parametrize("ref", ["{}", "nonsense", '{"provider": "other", "id": "x"}'])
def test_a_reference_of_somebody_else_is_not_found(rig: Rig, ref: str) -> None:
    with pytest.raises(NotFound):
        aio.run(rig.provider.get(SandboxRef(ref)), timeout_s=TIMEOUT_S)


def test_ending_it_ends_what_runs_in_it(rig: Rig) -> None:
    sandbox = create(rig)
    seen: list[BaseException | int] = []

    def run() -> None:
        try:
            seen.append(aio.run(sandbox.exec(["sleep", "60"], timeout_s=50), timeout_s=TIMEOUT_S).exit_code)
        except (SandboxError, ExecTimeout) as error:
            seen.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while rig.engine is not None and not _running(rig) and time.monotonic() < deadline:
        thread.join(0.05)
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    thread.join(20)
    assert not thread.is_alive()
    assert seen
    assert seen != [0]


def _running(rig: Rig) -> bool:
    assert rig.engine is not None
    return any(process.returncode is None for box in rig.engine.alive() for process in box.processes.values())


@pytest.mark.needs("wire")
def test_a_life_that_is_over_is_noticed(rig: Rig) -> None:
    sandbox = create(rig, labels={"life": key()})
    assert rig.engine is not None
    box = next(box for box in rig.engine.alive() if box.id in sandbox.ref)
    rig.engine.terminate(box.id)
    with pytest.raises(NotFound):
        aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)


@pytest.mark.needs("labels", "list", "wire")
def test_orphans_are_found_and_ended(rig: Rig) -> None:
    label = key()
    refs = {create(rig, labels={"session": label}).ref for _ in range(3)}
    found = aio.run(rig.provider.list({"session": label}), timeout_s=TIMEOUT_S)
    assert {info.ref for info in found} == refs
    for info in found:
        aio.run(aio.run(rig.provider.get(info.ref), timeout_s=TIMEOUT_S).terminate(), timeout_s=TIMEOUT_S)
    assert aio.run(rig.provider.list({"session": label}), timeout_s=TIMEOUT_S) == []


@pytest.mark.needs("pause")
def test_a_pause_keeps_files(rig: Rig) -> None:
    sandbox = create(rig)
    aio.run(sandbox.write_file("file", b"here"), timeout_s=TIMEOUT_S)
    aio.run(sandbox.pause(), timeout_s=TIMEOUT_S)
    aio.run(sandbox.resume(), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.read_file("file", max_bytes=10), timeout_s=TIMEOUT_S) == b"here"


@pytest.mark.needs("extend")
def test_a_life_can_be_made_longer(rig: Rig) -> None:
    sandbox = create(rig)
    before = aio.run(sandbox.info(), timeout_s=TIMEOUT_S).expires_at
    aio.run(sandbox.extend(3000), timeout_s=TIMEOUT_S)
    after = aio.run(sandbox.info(), timeout_s=TIMEOUT_S).expires_at
    assert before is not None
    assert after is not None
    assert after > before
