"""Collecting garbage: what is needed stays, what is not goes, whoever writes meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from runs.blobs import BlobMissing, blob_store
from runs.models import Blob, BlobUse, Node, Session
from runs.replay.forks import starting
from runs.services.boxsetup import host_file
from runs.services.giving_up import copying_from
from runs.services.snapshots.reading import SnapshotExpired, latest_snapshot, manifest_of, snapshot_of, snapshots_of
from runs.services.snapshots.scratch import open_scratch
from runs.services.transaction import session_transaction
from runs.store import collect as collecting
from runs.store import usage
from runs.store.collect import AlreadyCollecting, collect
from runs.store.policy import Policy
from runs.store.report import Report
from runs.uploads import upload_dir
from sandboxes.models import Snapshot
from tests.factories import make_context, make_session
from tests.runs.replay.forks.test_starting import fork as fork_of
from tests.runs.services.test_snapshots import run_cells
from tests.stored import blob_file

pytestmark = pytest.mark.django_db(transaction=True)
NOTHING_OLD = Policy(snapshot_days=1000, keep_every=10, unused_hours=0)
ALL_OLD = Policy(snapshot_days=0, keep_every=1000, unused_hours=0)


def everything_collected(policy: Policy = ALL_OLD, *, dry_run: bool = False) -> Report:
    """A collection some time from now, when everything there is has become old."""
    return collect(policy, dry_run=dry_run, now=timezone.now() + timedelta(days=2))


def put(text: str) -> str:
    return blob_store().put(text.encode()).sha256


def is_kept(sha256: str) -> bool:
    try:
        blob_store().verify(sha256)
    except BlobMissing:
        return False
    return True


def test_unused_contents_go_and_used_ones_stay() -> None:
    session = make_session()
    used, unused = put("used"), put("unused")
    BlobUse.objects.create(session=session, sha256=used)
    Blob.objects.create(sha256=unused, size_bytes=6, stored_bytes=6)
    report = everything_collected()
    assert is_kept(used)
    assert is_kept(session.context.sha256)
    assert not is_kept(unused)
    assert not Blob.objects.filter(sha256=unused).exists()
    assert report.freed.count >= 1
    assert report.freed.size_bytes > 0


def test_contents_that_are_not_old_enough_stay() -> None:
    unused = put("young and unused")
    report = collect(Policy(snapshot_days=0, keep_every=1000, unused_hours=24), dry_run=False)
    assert is_kept(unused)
    assert report.young.count >= 1


def test_a_content_that_is_put_again_is_young_again() -> None:
    unused = put("put again")
    old_s = time.time() - 48 * 3600
    path = blob_file(unused)
    os.utime(path, (old_s, old_s))
    put("put again")
    collect(Policy(snapshot_days=0, keep_every=1000, unused_hours=24), dry_run=False)
    assert is_kept(unused)


def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    session = run_cells("x = ['a'] * 5000", "x = ['b'] * 5000", "y = 1", "y = 2")
    unused = put("unused in a dry run")
    uses = BlobUse.objects.filter(session=session).count()
    would = everything_collected(dry_run=True)
    assert is_kept(unused)
    assert BlobUse.objects.filter(session=session).count() == uses
    assert not snapshots_of(session).exclude(collected_at=None).exists()
    did = everything_collected()
    assert (would.snapshots, would.sessions) == (did.snapshots, did.sessions) == (4, 1)
    assert (would.freed.count, would.freed.size_bytes) == (did.freed.count, did.freed.size_bytes)
    assert not is_kept(unused)


def test_old_sessions_keep_the_last_snapshot_and_every_so_many_th() -> None:
    session = run_cells("x = 1", "x = 2", "x = 3", "x = 4")
    report = everything_collected(Policy(snapshot_days=0, keep_every=2, unused_hours=0))
    assert report.problems == []
    kept = snapshots_of(session).filter(collected_at=None)
    assert [row.step_number for row in kept] == [2, 4, 5]
    for row in kept:
        with open_scratch(row) as box:
            assert box.evaluate("x").value == str(min(row.step_number, 4))
    again = everything_collected(Policy(snapshot_days=0, keep_every=2, unused_hours=0))
    assert (again.snapshots, again.freed.count) == (0, 0)


def test_a_collected_snapshot_says_so_and_names_the_way_out() -> None:
    session = run_cells("x = 1", "x = 2", "x = 3")
    everything_collected(Policy(snapshot_days=0, keep_every=2, unused_hours=0))
    gone = snapshot_of(session, 0, 3)
    assert gone is not None
    assert gone.collected_at is not None
    with pytest.raises(SnapshotExpired, match=f"step 3 .{gone.uuid}") as raised:
        manifest_of(gone)
    assert "step 2" in raised.value.way_out
    first = snapshot_of(session, 0, 1)
    assert first is not None
    with pytest.raises(SnapshotExpired) as raised:
        manifest_of(first)
    assert "step 2" in raised.value.way_out


def test_pinned_running_and_based_snapshots_stay() -> None:
    pinned, running, base = (run_cells("x = 1", "x = 2", "x = 3") for _ in range(3))
    row = snapshot_of(pinned, 0, 1)
    assert row is not None
    Snapshot.objects.filter(pk=row.pk).update(pinned=True)
    Session.objects.filter(pk=running.pk).update(status=Session.Status.RUNNING)
    fork = fork_of(base, 2)
    everything_collected()
    assert [row.step_number for row in snapshots_of(pinned).filter(collected_at=None)] == [1, 4]
    assert not snapshots_of(running).exclude(collected_at=None).exists()
    assert [row.step_number for row in snapshots_of(base).filter(collected_at=None)] == [4]
    node = Node.objects.get(session=fork, number=0)
    assert node.base_snapshot is not None
    assert Snapshot.objects.get(uuid=node.base_snapshot).collected_at is None
    with open_scratch(row) as box:
        assert box.evaluate("x").value == "1"


def test_a_pinned_session_keeps_everything() -> None:
    session = run_cells("x = ['a'] * 3000", "x = ['b'] * 3000")
    Session.objects.filter(pk=session.pk).update(pinned=True)
    everything_collected()
    for row in snapshots_of(session):
        assert row.collected_at is None
        with open_scratch(row) as box:
            assert box.evaluate("len(x)").value == "3000"


def test_a_session_whose_snapshot_is_damaged_keeps_everything_and_is_reported() -> None:
    session = run_cells("x = 1", "x = 2")
    last = latest_snapshot(Node.objects.get(session=session), up_to_step=3)
    assert last is not None
    blob_store().delete(last.manifest_sha256)
    report = everything_collected()
    assert str(session.uuid) in report.problems[0]
    assert not snapshots_of(session).exclude(collected_at=None).exists()


def test_one_collection_at_a_time() -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [collecting.LOCK])
        with pytest.raises(AlreadyCollecting):
            everything_collected()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [collecting.LOCK])
    finally:
        other.close()
    everything_collected()


def test_what_is_put_while_it_is_about_to_be_deleted_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The race: a content is old and unused when the batch is asked for, and put again before it is deleted."""
    session = make_session()
    names = [put(f"put meanwhile {n}") for n in range(50)]
    old_s = time.time() - 48 * 3600
    for name in names:
        path = blob_file(name)
        os.utime(path, (old_s, old_s))
    ask = usage.used_among

    def ask_and_put(asked: Iterator[str], **options: Any) -> set[str]:
        used = ask(asked, **options)
        for n in range(0, 50, 2):
            record_use(session, f"put meanwhile {n}")
        return used

    monkeypatch.setattr(collecting, "used_among", ask_and_put)
    collect(Policy(snapshot_days=0, keep_every=1000, unused_hours=24), dry_run=False)
    assert [is_kept(name) for name in names] == [True, False] * 25
    assert Blob.objects.filter(sha256__in=names).count() == 25


def test_a_writer_beside_the_sweep_loses_nothing() -> None:
    """Both at once, on the same contents: what was used at the end is there, whatever came first."""
    session = make_session()
    texts = [f"written beside the sweep {n}" for n in range(300)]
    old_s = time.time() - 48 * 3600
    for text in texts:
        path = blob_file(put(text))
        os.utime(path, (old_s, old_s))

    def write() -> None:
        for text in reversed(texts):
            record_use(session, text)
        connection.close()

    writer = Thread(target=write)
    writer.start()
    policy = Policy(snapshot_days=0, keep_every=1000, unused_hours=24)
    while writer.is_alive():
        collect(policy, dry_run=False)
    writer.join()
    collect(policy, dry_run=False)
    used = set(BlobUse.objects.filter(session=session).values_list("sha256", flat=True))
    assert all(is_kept(name) for name in used)
    assert Blob.objects.filter(sha256__in=used).count() == len(used) == len(texts)


def record_use(session: Session, text: str) -> None:
    """As a session's transaction does it: first the content, then its use."""
    stored = blob_store().put(text.encode())
    with session_transaction(session) as changes:
        changes.keep(stored)


def test_copies_of_contexts_go_unless_a_running_session_needs_them() -> None:
    idle, running = make_session(), make_session(status=Session.Status.RUNNING)
    other = make_context(running.team, "another text")
    Session.objects.filter(pk=running.pk).update(context=other)
    Session.objects.filter(pk=idle.pk).update(status=Session.Status.FINISHED)
    unneeded, needed = host_file(idle.context.sha256), host_file(other.sha256)
    report = everything_collected()
    assert not unneeded.exists()
    assert needed.exists()
    assert report.context_copies.count == 1
    assert host_file(idle.context.sha256).read_bytes() == blob_store().get(idle.context.sha256)


def test_unfinished_uploads_go_when_their_ticket_is_too_old() -> None:
    young, old = upload_dir() / "1-a.part", upload_dir() / "1-b.part"
    young.write_bytes(b"young")
    old.write_bytes(b"old")
    old_s = time.time() - 25 * 3600
    os.utime(old, (old_s, old_s))
    report = everything_collected()
    assert (young.exists(), old.exists()) == (True, False)
    assert (report.uploads.count, report.uploads.size_bytes) == (1, 3)


def test_a_fork_and_the_policy_wait_for_each_other() -> None:
    """The race: a fork has copied its source's snapshots and not yet the contents that they need, and the policy wants
    both. Whoever comes second waits; here it is the policy."""
    source = run_cells("x = ['a'] * 3000", "x = ['b'] * 3000", "x = ['c'] * 3000")
    reports: list[Report] = []

    def collect_beside() -> None:
        reports.append(everything_collected())
        connection.close()

    beside = Thread(target=collect_beside)
    with transaction.atomic():
        copying_from(source.pk)
        beside.start()
        wait_for_a_waiting_lock()
        fork = fork_of(source, 2)
    beside.join(30)
    assert reports[0].snapshots == 3
    base_uuid = Node.objects.get(session=fork, number=0).base_snapshot
    assert base_uuid is not None
    base = Snapshot.objects.get(uuid=base_uuid)
    with open_scratch(base) as box:
        assert box.evaluate("x[0], len(x)").value == "('b', 3000)"


def test_a_fork_of_what_the_policy_just_gave_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other order: checked, then given up, then forked. Nothing is written."""
    source = run_cells("x = 1", "x = 2")

    def collect_first(session_pk: int) -> None:
        Snapshot.objects.filter(step_number=1).update(collected_at=timezone.now())
        copying_from(session_pk)

    monkeypatch.setattr(starting, "copying_from", collect_first)
    with pytest.raises(SnapshotExpired):
        fork_of(source, 1)
    assert Session.objects.count() == 1


def wait_for_a_waiting_lock(timeout_s: float = 20) -> None:
    """Until somebody waits for an advisory lock of this database."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            row = cursor.fetchone()
        if row is not None and row[0]:
            return
    raise AssertionError("nobody waits")
