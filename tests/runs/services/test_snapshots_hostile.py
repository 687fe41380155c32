"""What code that took its runner over may claim of snapshots: its claims reach no other step, session or machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from rlmweb.bench.outside import wait_until
from runs.blobs import blob_store
from runs.events.types import SnapshotFailed, SnapshotTaken
from runs.models import Node, Session
from runs.services.config import SnapshotPolicy
from runs.services.nodebox import NodeBox
from runs.services.snapshots.reading import manifest_of, snapshot_of, snapshots_of
from runs.services.snapshots.taking import PartStored, SnapshotTaker
from runs.services.transaction import session_transaction
from sandboxes.contract import Spec
from sandboxes.errors import InvalidSpec
from sandboxes.frames import BlobEntry, Payload, RunnerError, SnapshotDone, SnapshotPart
from sandboxes.frames import SnapshotTaken as TakenFrame
from sandboxes.manifest import Manifest, Piece, VariableState
from tests.factories import make_session
from tests.runs.services.test_snapshots import events_of, run_cells

pytestmark = pytest.mark.django_db(transaction=True)

DATA = b"what x holds"
SHA256 = hashlib.sha256(DATA).hexdigest()
DESCRIPTOR = msgspec.json.encode({"blocks": [SHA256]})
DESCRIPTOR_SHA256 = hashlib.sha256(DESCRIPTOR).hexdigest()
MANIFEST = Manifest(
    python="3.11.7",
    variables=[VariableState("x", "bytes", digest="1")],
    pieces=[Piece(names=["x"], blob=DESCRIPTOR_SHA256, size_bytes=len(DATA))],
)


@dataclass
class Link:
    """Notes what was asked; says whatever the test has it say."""

    asked: list[str] = field(default_factory=list)

    full: list[str] = field(default_factory=list)

    def snapshot(self, id: str, *, full: bool) -> None:
        self.asked.append(id)
        if full:
            self.full.append(id)

    def read_payload(self, payload: Payload, max_bytes: int) -> str:
        return payload.text or ""


@dataclass
class Box:
    """A sandbox whose files are what the test says."""

    files: dict[str, bytes] = field(default_factory=dict)
    link: Link = field(default_factory=Link)

    def spec(self) -> Spec:
        return Spec(memory_mb=1, disk_mb=0)

    @property
    def sandbox(self) -> Box:
        return self

    async def get_file(self, path: str, target: str, *, max_bytes: int) -> int:
        data = self.files[path]
        if len(data) > max_bytes:
            raise InvalidSpec(f"{path} is larger than {max_bytes} bytes")
        with open(target, "wb") as file:  # noqa: ASYNC230 - a file of the test's own folder
            return file.write(data)


@dataclass
class Stage:
    session: Session
    box: Box
    taker: SnapshotTaker
    signals: list[PartStored]
    seq: int = 0

    def say(self, kind: Callable[..., Any], step: int | str, current: int, **fields: Any) -> int:
        self.seq += 1
        id = step if isinstance(step, str) else f"step-{step}"
        self.taker.take_frame(kind(seq=self.seq, id=id, **fields), current)
        return self.seq

    def send(self, step: int, current: int, data: bytes, *blobs: BlobEntry) -> int:
        """One part, and wait until it was looked at."""
        name = f".rlm/out/{self.seq}.bin"
        self.box.files[name] = data
        before = len(self.signals)
        seq = self.say(SnapshotPart, step, current, part=1, file=name, blobs=list(blobs))
        wait_until("the part", lambda: len(self.signals) > before, 10)
        self.taker.settle()
        return seq

    def send_contents(self, step: int, current: int) -> None:
        parts = (BlobEntry(SHA256, len(DATA)), BlobEntry(DESCRIPTOR_SHA256, len(DESCRIPTOR)))
        self.send(step, current, DATA + DESCRIPTOR, *parts)

    def finish(self, step: int | str, current: int, manifest: Manifest = MANIFEST) -> int:
        text = msgspec.json.encode(manifest).decode()
        return self.say(SnapshotDone, step, current, manifest=Payload(text=text))

    def commit(self) -> None:
        with session_transaction(self.session) as changes:
            self.taker.commit(changes)

    def taken(self) -> list[int]:
        return [event.step for event in events_of(self.session, SnapshotTaken)]

    def failed(self) -> dict[int, str]:
        return {event.step: event.reason for event in events_of(self.session, SnapshotFailed)}


def make_stage(policy: SnapshotPolicy = "every") -> Stage:
    session = make_session()
    node = Node.objects.create(session=session, number=0, depth=0)
    box, signals = Box(), list[PartStored]()
    taker = SnapshotTaker(node, cast("NodeBox", box), blob_store(), signals.append, policy)
    return Stage(session, box, taker, signals)


def test_a_snapshot_is_on_record_once_everything_is_stored() -> None:
    stage = make_stage()
    stage.taker.take(1)
    assert stage.box.link.asked == ["step-1"]
    stage.say(TakenFrame, 1, 1, live=True)
    stage.send_contents(1, 1)
    waiting = [stage.taker.unfinished]
    stage.finish(1, 1)
    waiting.append(stage.taker.unfinished)
    assert waiting == [True, False]
    stage.commit()
    assert stage.taken() == [1]
    row = snapshot_of(stage.session, 0, 1)
    assert row is not None
    assert manifest_of(row) == MANIFEST


@pytest.mark.parametrize("id", ["step-2", "step-999", "step-0", "step-01", "step-", "look-1", "1", "step-\u0661"])
def test_a_claim_about_a_step_that_was_not_is_nothing(id: str) -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.finish(id, 1)
    stage.say(RunnerError, id, 1, code="busy", message="no")
    stage.commit()
    assert (stage.taken(), stage.failed()) == ([], {})
    assert stage.taker.unfinished


def test_what_is_on_record_is_not_replaced() -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.send_contents(1, 1)
    stage.finish(1, 1)
    stage.commit()
    stage.finish(1, 5, Manifest(python="3.11.7", variables=[VariableState("y", "int", digest="2")]))
    stage.commit()
    assert stage.taken() == [1]
    row = snapshot_of(stage.session, 0, 1)
    assert row is not None
    assert manifest_of(row) == MANIFEST


def test_a_manifest_that_was_not_asked_for_waits_and_is_not_acknowledged() -> None:
    """As after a worker that died: the step goes on, and only its end says that this is its state."""
    stage = make_stage()
    stage.send_contents(1, 1)
    done = stage.finish(1, 1)
    stage.commit()
    assert stage.taken() == []
    assert stage.taker.safe_seq(done) == done - 1
    stage.taker.take(1)
    assert stage.box.link.asked == []
    stage.commit()
    assert stage.taken() == [1]
    assert stage.taker.safe_seq(done) == done


def test_what_the_worker_before_asked_for_is_finished() -> None:
    stage = make_stage()
    stage.taker.take_over({"step-1": "writing", "step-2": "writing", "step-9": "writing", "look": "writing"}, 2)
    waiting = [stage.taker.unfinished]
    stage.send_contents(1, 2)
    stage.finish(1, 2)
    waiting.append(stage.taker.unfinished)
    assert waiting == [True, False]
    stage.commit()
    assert stage.taken() == [1]


@pytest.mark.parametrize(
    ("data", "blob", "said"),
    [
        (b"something else", BlobEntry(SHA256, 14), "does not have its hash"),
        (DATA, BlobEntry(SHA256, -1), "does not have its hash"),
        (DATA, BlobEntry("../../../etc/passwd", len(DATA)), "does not have its hash"),
        (b"0" * 3_000_000, BlobEntry(SHA256, len(DATA)), "larger than"),
    ],
)
def test_a_part_that_is_not_what_it_says_fails_its_snapshot(data: bytes, blob: BlobEntry, said: str) -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.send(1, 1, data, blob)
    stage.finish(1, 1)
    stage.commit()
    assert stage.taken() == []
    assert said in stage.failed()[1]


def test_after_contents_were_lost_the_next_snapshot_has_all_of_them() -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.send(1, 1, b"something else", BlobEntry(SHA256, 14))
    stage.finish(1, 1)
    for step in (2, 3):
        stage.taker.take(step)
        stage.send_contents(step, step)
        stage.finish(step, step)
    stage.commit()
    assert stage.box.link.full == ["step-2"]
    assert stage.taken() == [2, 3]


@pytest.mark.parametrize("size_bytes", [1 << 70, -(1 << 70), 1024 * 1024 + 1])
def test_a_snapshot_cannot_be_larger_than_its_sandbox(size_bytes: int) -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.say(SnapshotPart, 1, 1, part=1, file="part", blobs=[BlobEntry(SHA256, size_bytes)])
    assert stage.taker.safe_seq(stage.seq) == stage.seq  # not waited for
    stage.finish(1, 1)
    stage.commit()
    assert "did not send" in stage.failed()[1]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("no json", "not a manifest"),
        ("[" * 100_000, "not a manifest"),
        ('{"python": "3.11.7", "version": 99}', "version 99"),
        ('{"python": "3.11.7", "pieces": [{"names": ["x"], "blob": "../etc/passwd"}]}', "not a manifest"),
        (msgspec.json.encode(MANIFEST).decode(), "did not send"),
    ],
)
def test_a_manifest_that_is_none_is_refused(manifest: str, said: str) -> None:
    stage = make_stage()
    stage.taker.take(1)
    stage.say(SnapshotDone, 1, 1, manifest=Payload(text=manifest))
    stage.commit()
    assert stage.taken() == []
    assert said in stage.failed()[1]


def test_a_session_without_snapshots_takes_none_from_its_runner() -> None:
    stage = make_stage("off")
    stage.send_contents(1, 3)
    stage.finish(1, 3)
    stage.commit()
    assert stage.taken() == []
    assert not stage.taker.unfinished


def test_names_of_any_kind_and_number_fit_into_the_record() -> None:
    session = run_cells(
        "for n in range(400): globals()['ä' * 190 + str(n)] = n",
        "for n in range(100): globals()[chr(1) * 190 + str(n)] = open",
        "globals()['nul\\0nul'] = 1\nglobals()['\\ud800'] = 2\nglobals()[7] = 3\nglobals()['n' * 5000] = 4",
        "import sys\nfor n in range(150): globals()[f'frame{n}' * 20] = sys._getframe()",
    )
    assert session.answer == "done", session.error_message
    assert events_of(session, SnapshotFailed) == []
    assert [row.step_number for row in snapshots_of(session, 0)] == [1, 2, 3, 4, 5]
    third, fourth = snapshot_of(session, 0, 3), snapshot_of(session, 0, 4)
    assert third is not None
    assert fourth is not None
    assert {"nul\u2400nul", "?"} <= {each["name"] for each in third.dropped}
    assert len(fourth.dropped) == 100
