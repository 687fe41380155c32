"""Who uses a content: every place that names one, and that a collection takes nothing from anybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.blobs import blob_store
from runs.events.types import decode_event
from runs.models import BlobUse, Event, Node, Rollout, Session
from runs.replay.archive.contents import texts_of
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import write_archive
from runs.replay.rollouts.scorers import Exact
from runs.services.snapshots.reading import snapshots_of
from runs.services.snapshots.scratch import open_scratch
from runs.store.collect import collect
from runs.store.policy import Policy
from runs.store.usage import event_texts_of, needed_by, node_texts_of, snapshot_contents_of, used_among
from sandboxes.models import Snapshot
from tests.factories import make_session
from tests.runs.replay.forks.test_starting import fork
from tests.runs.replay.reexecution.test_reexecution import reexecute
from tests.runs.replay.rollouts.test_rollouts import begin, keep_until_over
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells
from tests.snapshotted import make_node, make_snapshot, variable

pytestmark = pytest.mark.django_db(transaction=True)
CHILD_PROMPT = "the prompt of a child " * 400
GIVE = "```repl\nanswer['content'] = str(len(context))\nanswer['ready'] = True\n```"
CELLS = (
    "rows = [str(n) * 50 for n in range(2000)]\nprint('out ' * 20_000)",
    "open('kept.txt', 'w').write('file ' * 5000)\nreply = rlm_query('the prompt of a child ' * 400)",
    "rows.append(llm_query('leaf ' * 2000))\nhead = context[:1000]",
    "rows = rows[:10]\ntext = 'long text ' * 20_000",
)


def rich() -> Session:
    """A session with a child, a fork of it, and a rollout with branches."""
    session = run_cells(*CELLS)
    assert session.status == Session.Status.FINISHED, session.error_message
    run_to_end(fork(session, 2))
    keep_until_over(begin(session, [1], 2, Exact("done")))
    return session


def sweep(policy: Policy) -> int:
    """A collection some days from now; how many contents went."""
    return collect(policy, dry_run=False, now=timezone.now() + timedelta(days=2)).freed.count


def test_every_place_that_names_a_content_is_asked() -> None:
    session = make_session()
    node = make_node(session)
    sha256 = {name: blob_store().put(name.encode()).sha256 for name in ("use", "prompt", "answer", "unused")}
    BlobUse.objects.create(session=session, sha256=sha256["use"])
    Node.objects.filter(pk=node.pk).update(prompt_sha256=sha256["prompt"], answer_sha256=sha256["answer"])
    snapshot = make_snapshot(node, 1, [variable("x", 1)])
    sha256 |= {"context": session.context.sha256, "manifest": snapshot.manifest_sha256}
    assert used_among(sha256.values()) == set(sha256.values()) - {sha256["unused"]}
    # As a dry run asks: without this use, and without this snapshot.
    given_up = {sha256["use"]: 1}
    left = used_among(sha256.values(), given_up=given_up, without=[snapshot.pk])
    assert left == {sha256["prompt"], sha256["answer"], sha256["context"]}
    Snapshot.objects.filter(pk=snapshot.pk).update(collected_at=timezone.now())
    assert sha256["manifest"] not in used_among(sha256.values())


def test_what_a_session_needs_it_uses() -> None:
    """Else a collection would take it: uses are what the sweep asks for."""
    session = rich()
    for each in Session.objects.all():
        used = set(BlobUse.objects.filter(session=each).values_list("sha256", flat=True)) | {each.context.sha256}
        assert event_texts_of(each) <= used
        assert node_texts_of(each) <= used
        assert snapshot_contents_of(each, blob_store()) <= used
        assert needed_by(each, blob_store()) <= used
    assert len(event_texts_of(session)) >= 3
    assert len(node_texts_of(session)) >= 3
    assert len(snapshot_contents_of(session, blob_store())) >= 8


def test_a_sweep_without_grace_takes_nothing_that_anybody_needs() -> None:
    session = rich()
    sweep(Policy(snapshot_days=1000, keep_every=10, unused_hours=0))
    everything_still_works(session, Snapshot.objects.all())


def test_thinning_takes_nothing_from_what_is_kept() -> None:
    session = rich()
    assert sweep(Policy(snapshot_days=0, keep_every=2, unused_hours=0)) > 0
    everything_still_works(session, Snapshot.objects.filter(collected_at=None))


def everything_still_works(session: Session, kept: Any) -> None:
    client = Client()
    assert session.created_by is not None
    client.force_login(session.created_by)
    for each in Session.objects.all():
        for event in Event.objects.filter(session=each):
            for text in texts_of(decode_event(event.data)):
                blob = client.get(reverse("runs:session_blob", args=[each.uuid, text.sha256]))
                assert blob.status_code == 200, event.data[:200]
                assert len(blob.content) >= min(text.size, 60_000)
        for sha256 in node_texts_of(each) | {each.context.sha256}:
            blob_store().verify(sha256)
    for snapshot in kept:
        with open_scratch(snapshot) as box:
            # Every variable is loaded: whatever the code might name.
            assert box.evaluate("len(repr(dict(globals())))").status == "ok"
    for row in snapshots_of(session, 0).filter(collected_at=None):
        address = reverse("runs:snapshot", args=[session.uuid, 0, row.step_number])
        assert client.get(address).status_code == 200
        if row.step_number > len(CELLS):
            continue  # the script has no more to say
        forked = run_to_end(fork(session, row.step_number))
        assert forked.status == Session.Status.FINISHED, forked.error_message
    result = reexecute(session)
    assert result["first"] is None
    latest = snapshots_of(session, 1).filter(collected_at=None).latest("step_number")
    of_child = run_to_end(fork(session, latest.step_number, node=1, reply=GIVE))
    assert of_child.answer == str(len(CHILD_PROMPT))
    first = Session.objects.filter(forked_from=session).earliest("pk")
    for address in (
        reverse("runs:rollout", args=[Rollout.objects.get().uuid]),
        reverse("runs:compare") + f"?a={session.uuid}&b={first.uuid}",
        reverse("runs:lineage", args=[session.uuid]),
    ):
        assert client.get(address).status_code == 200
    assert len(b"".join(write_archive(session, Options()))) > 10_000
