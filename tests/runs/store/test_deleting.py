"""Deleting a session: what goes, what lives on, what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from runs.access import Actor
from runs.blobs import BlobMissing, blob_store
from runs.models import BlobUse, Context, Event, Job, LmCall, Node, Rollout, Session, Step
from runs.replay.origin import origin_of
from runs.replay.rollouts.scorers import Exact
from runs.services.snapshots.reading import require_snapshot
from runs.services.snapshots.scratch import open_scratch
from runs.store.collect import collect
from runs.store.deleting import CannotDelete, delete_session, deletion_of
from runs.store.pins import pin_session, pin_snapshot
from runs.store.policy import Policy
from sandboxes.models import SandboxRecord, Snapshot
from tests.factories import make_session
from tests.runs.replay.forks.test_starting import fork
from tests.runs.replay.rollouts.test_rollouts import begin, keep, keep_until_over
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(None, "test")


def sweep() -> None:
    policy = Policy(snapshot_days=1000, keep_every=10, unused_hours=0)
    collect(policy, dry_run=False, now=timezone.now() + timedelta(days=2))


def test_rows_go_at_once_and_contents_with_the_next_collection() -> None:
    session = run_cells("x = 'long' * 5000\nprint('out ' * 5000)", "y = rlm_query('child ' * 900)")
    only_here = BlobUse.objects.filter(session=session).values_list("sha256", flat=True)
    names = list(only_here)
    delete_session(session, actor=ACTOR)
    for model in (Session, Node, Step, Event, LmCall, BlobUse):
        assert not model.objects.exists()
    assert not Snapshot.objects.exists()
    assert not SandboxRecord.objects.exists()
    assert Context.objects.count() == 1
    assert all(blob_store().get(name) is not None for name in names)
    sweep()
    for name in names:
        with pytest.raises(BlobMissing):
            blob_store().get(name)
    blob_store().verify(Context.objects.get().sha256)
    entry = AuditEntry.objects.get(action="session.delete")
    assert (entry.object_id, entry.actor) == (str(session.uuid), "system")


def test_forks_live_on_and_say_that_their_source_was_deleted() -> None:
    source = run_cells("x = ['kept'] * 1000", "x.append(2)")
    user = source.created_by
    forked = run_to_end(fork(source, 1))
    assert deletion_of(source).forks == 1
    delete_session(source, actor=ACTOR)
    sweep()
    forked.refresh_from_db()
    assert forked.forked_from is None
    origin = origin_of(forked.origin)
    assert origin is not None
    assert origin.title == source.title
    with open_scratch(require_snapshot(forked, 0, 1)) as box:
        assert box.evaluate("len(x)").value == "1000"
    again = run_to_end(fork(forked, 1))
    assert again.status == Session.Status.FINISHED
    client = Client()
    assert user is not None
    client.force_login(user)
    lineage = client.get(reverse("runs:lineage", args=[forked.uuid])).content.decode()
    assert "which was deleted" in lineage
    assert "(deleted)" in client.get(reverse("runs:session", args=[forked.uuid])).content.decode()


def test_branches_go_with_the_rollout_that_shows_them() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    keep_until_over(begin(source, [1], 2, Exact("done")))
    visible = run_to_end(fork(Session.objects.filter(hidden=True).earliest("pk"), 1))
    assert (deletion_of(source).branches, deletion_of(source).forks) == (2, 1)
    delete_session(source, actor=ACTOR)
    assert list(Session.objects.all()) == [visible]
    assert not Rollout.objects.exists()
    assert AuditEntry.objects.filter(action="session.delete").count() == 3


def test_a_branch_that_is_deleted_leaves_its_rollout_readable() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    rollout = begin(source, [1], 2, Exact("done"))
    keep()
    branch = Session.objects.filter(hidden=True).earliest("pk")
    run_to_end(branch)
    with pytest.raises(CannotDelete, match="Stop the rollout first"):
        delete_session(branch, actor=ACTOR)
    keep_until_over(rollout)
    delete_session(branch, actor=ACTOR)
    client = Client()
    assert source.created_by is not None
    client.force_login(source.created_by)
    page = client.get(reverse("runs:rollout", args=[rollout.uuid])).content.decode()
    assert "2 of 2 branches scored" in page
    keep()
    assert Session.objects.filter(hidden=True).count() == 1


def test_what_runs_or_is_pinned_is_refused_with_the_way_out() -> None:
    running = make_session()
    with pytest.raises(CannotDelete, match="runs"):
        delete_session(running, actor=ACTOR)
    session = run_cells("x = 1")
    pin_session(session, actor=ACTOR, pinned=True)
    with pytest.raises(CannotDelete, match="Unpin it first"):
        delete_session(session, actor=ACTOR)
    pin_session(session, actor=ACTOR, pinned=False)
    pin_snapshot(session, 0, 1, actor=ACTOR, pinned=True)
    with pytest.raises(CannotDelete, match="snapshot of step 1 is pinned"):
        delete_session(session, actor=ACTOR)
    pin_snapshot(session, 0, 1, actor=ACTOR, pinned=False)
    job = Job.objects.create(kind="reexecute", team=session.team, session=session)
    with pytest.raises(CannotDelete, match="executed again"):
        delete_session(session, actor=ACTOR)
    assert Session.objects.filter(pk__in=[running.pk, session.pk]).count() == 2
    assert not AuditEntry.objects.filter(action="session.delete").exists()
    Job.objects.filter(pk=job.pk).update(status=Job.Status.STOPPED)
    delete_session(session, actor=ACTOR)
    delete_session(session, actor=ACTOR)


def test_the_context_that_was_made_for_a_fork_of_a_child_goes_with_it() -> None:
    source = run_cells("x = rlm_query('the text of the child ' * 100)", "y = 1")
    forked = run_to_end(fork(source, 0, node=1))
    assert Context.objects.filter(source="fork").count() == 1
    delete_session(forked, actor=ACTOR)
    assert not Context.objects.filter(source="fork").exists()
    assert Context.objects.count() == 1
