"""Snapshots that cannot be used: each says which it is and what can be done, and nothing changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from django.db import connection
from django.utils import timezone

from rlmweb.bench.outside import wait_until
from runs.blobs import blob_store
from runs.events.types import SnapshotFailed, SnapshotTaken
from runs.models import BlobUse, Event, Node, Session, Step
from runs.services.config import SessionConfig
from runs.services.snapshots.reading import (
    SnapshotCorrupt,
    SnapshotError,
    SnapshotExpired,
    SnapshotIncompatible,
    SnapshotMissing,
    manifest_of,
    require_snapshot,
    snapshot_of,
    snapshots_of,
)
from runs.services.snapshots.scratch import open_scratch
from sandboxes import services as sandbox_services
from sandboxes.manifest import decode_descriptor
from sandboxes.models import SandboxRecord, Snapshot
from tests.factories import scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import ANSWER, log, rules, start, turn
from tests.runs.services.test_snapshots import events_of, run_cells
from tests.stored import blob_file

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_store(settings: Any, tmp_path: Path) -> None:
    """What is damaged here must not be met by other tests, which store the same contents."""
    settings.BLOB_DIR = tmp_path / "blobs"


@pytest.fixture
def snapshot() -> Snapshot:
    session = run_cells("x = [1, 2]\ntext = 'held ' * 20_000\nopen('file.txt', 'w').write('from a file')")
    found = snapshot_of(session, 0, 1)
    assert found is not None
    return found


def contents(snapshot: Snapshot) -> dict[str, str]:
    """One content of each sort, by what it is."""
    manifest = manifest_of(snapshot)
    piece = next(piece for piece in manifest.pieces if "x" in piece.names)
    descriptor = decode_descriptor(blob_store().get(piece.blob))
    return {
        "manifest": snapshot.manifest_sha256,
        "descriptor": piece.blob,
        "block": descriptor.blocks[0],
        "file": next(file for file in manifest.files if file.path == "file.txt").blobs[0],
    }


def flip_bit(sha256: str) -> None:
    """In the content itself: the compressed frame around it is sound."""
    path = blob_file(sha256)
    data = bytearray(blob_store().get(sha256))
    data[len(data) // 2] ^= 1
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(data)))


def break_frame(sha256: str) -> None:
    path = blob_file(sha256)
    path.write_bytes(path.read_bytes()[:-3])


def remove(sha256: str) -> None:
    blob_file(sha256).unlink()


@pytest.mark.parametrize("damage", [flip_bit, break_frame, remove])
@pytest.mark.parametrize("which", ["manifest", "descriptor", "block", "file"])
def test_a_damaged_content_is_told_with_the_name_of_the_snapshot(
    snapshot: Snapshot, which: str, damage: Callable[[str], None]
) -> None:
    damage(contents(snapshot)[which])
    with pytest.raises(SnapshotError) as refused, open_scratch(snapshot) as box:
        box.evaluate("x")
    assert str(snapshot.uuid) in str(refused.value)
    assert refused.value.way_out
    expected = SnapshotMissing if (which, damage) == ("manifest", remove) else SnapshotCorrupt
    assert type(refused.value) is expected
    assert not SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).exists()


def test_what_is_not_damaged_can_still_be_read(snapshot: Snapshot) -> None:
    flip_bit(contents(snapshot)["block"])
    with open_scratch(snapshot) as box:
        assert box.evaluate("len(text)").value == "100000"


def test_an_expired_snapshot_says_so(snapshot: Snapshot) -> None:
    snapshot.collected_at = timezone.now()
    snapshot.save()
    with pytest.raises(SnapshotExpired, match=str(snapshot.uuid)), open_scratch(snapshot):
        pass


def test_another_python_is_refused_with_both_versions(snapshot: Snapshot) -> None:
    other = msgspec.structs.replace(manifest_of(snapshot), python="3.9.1")
    snapshot.manifest_sha256 = blob_store().put(msgspec.json.encode(other)).sha256
    snapshot.save()
    with pytest.raises(SnapshotIncompatible, match=r"3\.9\.1.*3\.") as refused, open_scratch(snapshot):
        pass
    assert refused.value.way_out


def test_contents_of_another_session_are_not_handed_over(snapshot: Snapshot) -> None:
    """A manifest in the record that names what its session does not use."""
    BlobUse.objects.filter(session__uuid=snapshot.session_uuid, sha256=contents(snapshot)["block"]).delete()
    with pytest.raises(SnapshotCorrupt, match=str(snapshot.uuid)), open_scratch(snapshot) as box:
        box.evaluate("x")


def test_there_is_no_snapshot_of_a_step_that_was_not(snapshot: Snapshot) -> None:
    session = Session.objects.get(uuid=snapshot.session_uuid)
    assert snapshot_of(session, 0, 99) is None
    assert snapshot_of(session, 7, 1) is None
    with pytest.raises(SnapshotMissing) as refused:
        require_snapshot(session, 0, 99)
    assert "step 99" in str(refused.value)


def test_a_session_whose_newest_snapshot_is_damaged_is_rebuilt_from_the_one_before() -> None:
    script = rules(
        turn(1, "import random\ndrawn = random.random()\nprint(drawn)"),
        turn(2, "second = [drawn]"),
        {**turn(3, ANSWER.format("(second[0], drawn)")), "latency_ms": 1500},
    )
    session = start(scripted_config(script))

    def damage_and_lose() -> None:
        taken = Event.objects.filter(session=session, type="snapshot.taken")
        wait_until("two snapshots", lambda: taken.count() == 2, 20)
        newest = snapshot_of(session, 0, 2)
        assert newest is not None
        piece = next(piece for piece in manifest_of(newest).pieces if "second" in piece.names)
        flip_bit(decode_descriptor(blob_store().get(piece.blob)).blocks[0])
        sandbox_services.terminate([Node.objects.get(session=session).sandbox_ref])
        connection.close()

    loss = threading.Thread(target=damage_and_lose)
    loss.start()
    run_to_end(session)
    loss.join()
    assert session.status == "finished", session.error_message
    printed = next(event["text"] for event in log(session) if event["type"] == "cell.output").strip()
    assert session.answer == f"({printed}, {printed})"
    newest = snapshot_of(session, 0, 2)
    assert newest is not None
    assert any(str(newest.uuid) in event["message"] for event in log(session) if event["type"] == "log")


def fork_of(snapshot: Snapshot, config: SessionConfig, code: str = "") -> Session:
    """A session whose root goes on from `snapshot` at the step after it, by hand."""
    source = Session.objects.get(uuid=snapshot.session_uuid)
    fork = start(config, blob_store().text(source.context.sha256))
    for use in BlobUse.objects.filter(session=source):
        BlobUse.objects.get_or_create(session=fork, sha256=use.sha256)
    Step.objects.filter(session=fork).update(number=snapshot.step_number + 1)
    Node.objects.filter(session=fork).update(base_snapshot=snapshot.uuid, base_code=code)
    return fork


def test_a_node_starts_from_its_base_with_its_changes(snapshot: Snapshot) -> None:
    script = rules(turn(2, ANSWER.format("(x, y, open('file.txt').read())")))
    fork = run_to_end(fork_of(snapshot, scripted_config(script), "y = x + [3]"))
    assert fork.answer == "([1, 2], [1, 2, 3], 'from a file')"
    assert events_of(fork, SnapshotFailed) == []


def test_a_fork_that_runs_no_code_at_first_has_the_state_it_starts_from(snapshot: Snapshot) -> None:
    script = rules({"when": {"kind": "turn", "step": 2}, "reply": "Let me think."}, turn(3, ANSWER.format("y")))
    fork = run_to_end(fork_of(snapshot, scripted_config(script), "y = x + [3]"))
    assert fork.answer == "[1, 2, 3]"
    first = snapshot_of(fork, 0, 2)
    assert first is not None
    with open_scratch(first) as box:
        assert box.evaluate("y").value == "[1, 2, 3]"


def test_a_fork_whose_sandbox_is_lost_starts_from_its_base_again(snapshot: Snapshot) -> None:
    script = rules(turn(2, "x.append(4)"), {**turn(3, ANSWER.format("(x, y)")), "latency_ms": 1500})
    fork = fork_of(snapshot, scripted_config(script, snapshots="off"), "y = x + [3]")

    def lose() -> None:
        wait_until("the first step", Event.objects.filter(session=fork, type="step.finished").exists, 20)
        sandbox_services.terminate([Node.objects.get(session=fork).sandbox_ref])
        connection.close()

    loss = threading.Thread(target=lose)
    loss.start()
    run_to_end(fork)
    loss.join()
    assert fork.answer == "([1, 2, 4], [1, 2, 3])", fork.error_message


@pytest.mark.parametrize(
    ("code", "damage", "error", "said"),
    [
        ("1 / 0", None, "ForkChangeFailed", "ZeroDivisionError"),
        ("", "manifest", "SnapshotCorrupt", "hash"),
        ("", "block", "SnapshotCorrupt", "damaged"),
    ],
)
def test_a_fork_that_cannot_start_fails_and_says_why(
    snapshot: Snapshot, code: str, damage: str | None, error: str, said: str
) -> None:
    fork = fork_of(snapshot, scripted_config(rules(turn(2, ANSWER.format("x")))), code)
    if damage is not None:
        flip_bit(contents(snapshot)[damage])
    run_to_end(fork)
    assert (fork.status, fork.error_type) == ("failed", error)
    assert said in fork.error_message
    if damage is not None:
        assert str(snapshot.uuid) in fork.error_message


@pytest.mark.parametrize(("policy", "steps"), [("every", [1, 2]), ("last", [2]), ("off", [])])
def test_a_session_chooses_its_snapshots(policy: Any, steps: list[int]) -> None:
    script = rules(turn(1, "x = 1"), turn(2, ANSWER.format("x")))
    session = run_to_end(start(scripted_config(script, snapshots=policy)))
    assert session.answer == "1"
    assert [row.step_number for row in snapshots_of(session, 0)] == steps
    assert [event.step for event in events_of(session, SnapshotTaken)] == steps


def test_steps_without_code_have_the_state_before_them() -> None:
    script = rules(
        {"when": {"kind": "turn", "step": 1}, "reply": "Let me think."},
        turn(2, "x = 1"),
        {"when": {"kind": "turn", "step": 3}, "reply": "Let me think again."},
        turn(4, ANSWER.format("x")),
    )
    session = run_to_end(start(scripted_config(script)))
    assert [event.step for event in events_of(session, SnapshotTaken)] == [1, 2, 3, 4]
    values = []
    for row in snapshots_of(session, 0):
        with open_scratch(row) as box:
            values.append(box.evaluate("globals().get('x'), len(context)").value)
    assert values == ["(None, 17)", "(1, 17)", "(1, 17)", "(1, 17)"]
