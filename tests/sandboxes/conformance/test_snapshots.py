"""5 and 6. Snapshots and forks: the vendor's own, and the portable ones that work everywhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandboxes import aio
from sandboxes.contract import Sandbox, SnapshotInfo, SnapshotRef
from sandboxes.errors import AlreadyTerminated, NotFound, SandboxError, SnapshotExpired
from tests.sandboxes.conformance.kit import TIMEOUT_S, Host, create, host_of, key
from tests.wire.rig import Rig, open_rig

LONG_S = 120.0


def fork(rig: Rig, ref: SnapshotRef, count: int = 1) -> list[Sandbox]:
    made = aio.run(rig.provider.restore(ref, rig.spec, count=count, idempotency_key=key()), timeout_s=LONG_S)
    failed = [each for each in made if isinstance(each, SandboxError)]
    assert failed == []
    return [each for each in made if not isinstance(each, SandboxError)]


def take(sandbox: Sandbox, **options: float) -> SnapshotInfo:
    return aio.run(sandbox.snapshot("fs", label="step", **options), timeout_s=LONG_S)


def read(sandbox: Sandbox, path: str) -> bytes:
    return aio.run(sandbox.read_file(path, max_bytes=1000), timeout_s=TIMEOUT_S)


@pytest.mark.needs("fs_snapshot")
def test_children_see_their_step_and_nothing_later(rig: Rig, sandbox: Sandbox, host: Host) -> None:
    infos = []
    for step in range(3):
        host.run(f"open('step', 'w').write('{step}')")
        infos.append(take(sandbox))
    assert host.run("print(open('step').read())") == "2\n"
    one, two = fork(rig, infos[0].ref, 2)
    assert (read(one, "step"), read(two, "step")) == (b"0", b"0")
    aio.run(one.write_file("step", b"changed"), timeout_s=TIMEOUT_S)
    assert (read(two, "step"), read(sandbox, "step")) == (b"0", b"2")
    grandchild = fork(rig, take(one).ref)[0]
    assert read(grandchild, "step") == b"changed"
    assert read(fork(rig, infos[1].ref)[0], "step") == b"1"


@pytest.mark.needs("fs_snapshot")
def test_a_fork_runs_code(rig: Rig, sandbox: Sandbox, host: Host) -> None:
    host.run("open('left', 'w').write('here')")
    child = fork(rig, take(sandbox).ref)[0]
    second = host_of(child)
    assert second.run("print(open('left').read())") == "here\n"
    second.close()


@pytest.mark.needs("fs_snapshot")
def test_the_parent_goes_on_while_and_after_it_is_saved(sandbox: Sandbox, host: Host) -> None:
    host.run("x = 1")
    id = host.start("import time\nfor i in range(20):\n    print(i); time.sleep(0.05)\nx += 1")
    take(sandbox)
    assert host.finish(id) == "".join(f"{number}\n" for number in range(20))
    assert host.run("print(x)") == "2\n"


@pytest.mark.needs("fs_snapshot")
def test_a_snapshot_outlives_its_sandbox(rig: Rig) -> None:
    parent = create(rig)
    aio.run(parent.write_file("file", b"kept"), timeout_s=TIMEOUT_S)
    info = take(parent)
    aio.run(parent.terminate(), timeout_s=TIMEOUT_S)
    assert read(fork(rig, info.ref)[0], "file") == b"kept"
    with pytest.raises((AlreadyTerminated, NotFound)):
        take(parent)


@pytest.mark.needs("fs_snapshot")
def test_a_deleted_snapshot_is_gone(rig: Rig, sandbox: Sandbox) -> None:
    info = take(sandbox)
    for _ in range(2):
        aio.run(rig.provider.delete_snapshot(info.ref), timeout_s=TIMEOUT_S)
    with pytest.raises((NotFound, SnapshotExpired)):
        fork(rig, info.ref)


@pytest.mark.needs("snapshot_ttl")
def test_an_expired_snapshot_says_so(rig: Rig, sandbox: Sandbox) -> None:
    info = take(sandbox, ttl_s=1.0)
    assert info.expires_at is not None
    assert info.expires_at < time.time() + 5
    assert rig.engine is not None
    for snapshot in rig.engine.snapshots.values():
        snapshot.expires_at = time.time() - 1
    with pytest.raises((SnapshotExpired, NotFound)):
        fork(rig, info.ref)


def test_a_session_moves_to_another_provider(rig: Rig, host: Host, tmp_path: Path) -> None:
    host.run(
        "class Point:\n    def __init__(self, x): self.x = x\np = Point(7); also = p; open('f.txt', 'w').write('file')"
    )
    manifest = host.snapshot()
    with open_rig("direct", tmp_path) as other:
        there = host_of(create(other))
        there.contents = host.contents
        there.restore(manifest)
        assert there.run("print(p.x, also is p, open('f.txt').read())") == "7 True file\n"
        there.close()


def test_a_session_comes_from_another_provider(rig: Rig, tmp_path: Path) -> None:
    with open_rig("direct", tmp_path) as other:
        first = host_of(create(other))
        first.run("values = list(range(50_000)); f = lambda: len(values)")
        manifest = first.snapshot()
        first.close()
    here = host_of(create(rig))
    here.contents = first.contents
    here.restore(manifest)
    assert here.run("print(f())") == "50000\n"
    here.close()
