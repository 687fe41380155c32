"""What happens when something is lost: a race for a step, a lease, a sandbox, a message."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from rlmweb.bench.outside import log_faults, wait_until
from runs.models import Event, LmCall, Node, OutboxMessage, Session, Step
from runs.services.claims import MAX_CRASHES, Claim, check_fence, claim_step
from runs.services.dispatch import EXECUTE_STEP
from runs.services.execution import execute_step
from runs.services.leases import FenceLost
from runs.services.reconciler import end_orphans, reconcile
from runs.services.transaction import session_transaction
from sandboxes import aio
from sandboxes import services as sandbox_services
from sandboxes.models import SandboxRecord
from tests.factories import scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import ANSWER, log, rules, start, turn

pytestmark = pytest.mark.django_db(transaction=True)


def first_step(session: Session) -> Step:
    return Step.objects.get(session=session, number=1)


def lose_worker(step: Step) -> None:
    """The step's worker has died: nobody renews the lease, and it has run out."""
    past = timezone.now() - timedelta(seconds=1)
    Step.objects.filter(pk=step.pk).update(status=Step.Status.RUNNING, lease_token=uuid4(), lease_expires_at=past)


def test_of_many_claims_at_once_exactly_one_is_given() -> None:
    step = first_step(start(scripted_config(rules(turn(1, "1")))))
    claims: list[Claim | None] = []
    ready = threading.Barrier(8)

    def claim() -> None:
        ready.wait()
        claims.append(claim_step(step.uuid))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found is not None for found in claims) == 1


def test_a_worker_that_was_replaced_cannot_commit() -> None:
    session = start(scripted_config(rules(turn(1, "1"))))
    step = first_step(session)
    old = claim_step(step.uuid)
    assert old is not None
    lose_worker(step)
    new = claim_step(step.uuid)
    assert new is not None
    with session_transaction(session):
        check_fence(new)
    with pytest.raises(FenceLost), session_transaction(session):
        check_fence(old)
    retried = Event.objects.get(session=session, type="step.retried")
    assert '"attempt":2' in retried.data or '"attempt":3' in retried.data


def test_a_step_that_lost_its_worker_again_and_again_fails_and_says_so() -> None:
    session = start(scripted_config(rules(turn(1, "1"))))
    step = first_step(session)
    Step.objects.filter(pk=step.pk).update(crashes=MAX_CRASHES)
    lose_worker(step)
    execute_step(step.uuid)
    session.refresh_from_db()
    assert (session.status, session.error_type) == ("failed", "StepPoisoned")
    assert log_faults(log(session)) == []


def test_a_step_taken_up_again_answers_its_calls_from_the_journal() -> None:
    session = start(scripted_config(rules(turn(1, ANSWER.format("1")))))
    step = first_step(session)
    run_to_end(session)
    calls = LmCall.objects.filter(session=session).count()
    # As if the worker had died right after the model's reply was on record and before anything else was.
    lost = {"sandbox_ref": "", "sandbox_generation": 1, "runner_seq": 0}
    Node.objects.filter(session=session).update(status="running", finished_at=None, **lost)
    Session.objects.filter(pk=session.pk).update(status="running")
    Step.objects.filter(pk=step.pk).update(state={"phase": "turn"})
    lose_worker(step)
    execute_step(step.uuid)
    session.refresh_from_db()
    assert session.status == "finished"
    assert LmCall.objects.filter(session=session).count() == calls
    session.meter.refresh_from_db()
    assert session.meter.lm_calls == calls


def test_a_sandbox_that_dies_is_rebuilt_with_its_variables() -> None:
    script = rules(
        turn(1, "text = llm_query('say')\nnumbers = [1, 2]\nnumbers.append(len(text))"),
        {**turn(2, ANSWER.format("(numbers, text)")), "latency_ms": 1500},
        {"when": {"kind": "leaf"}, "reply": "four"},
    )
    session = start(scripted_config(script))

    def end_sandbox_after_first_cell() -> None:
        finished = Event.objects.filter(session=session, type="step.finished")
        wait_until("the first step", finished.exists, 30)
        sandbox_services.terminate([Node.objects.get(session=session).sandbox_ref])
        connection.close()

    killer = threading.Thread(target=end_sandbox_after_first_cell)
    killer.start()
    run_to_end(session)
    killer.join()
    assert session.answer == "([1, 2, 4], 'four')"
    states = [event["state"] for event in log(session) if event["type"] == "node.sandbox"]
    assert states == ["ready", "lost", "rebuilt", "ended"]
    assert LmCall.objects.filter(session=session, kind="leaf").count() == 1
    assert log_faults(log(session)) == []


def test_a_sandbox_made_early_for_a_node_that_never_used_it_is_ended_with_the_node() -> None:
    refused = {"when": {"kind": "turn"}, "reply": "", "fault": "401", "latency_ms": 300}
    session = run_to_end(start(scripted_config(rules(refused))))
    assert (session.status, session.error_type) == ("failed", "LmAuthFailed")
    provider = sandbox_services.local_provider()
    labels = {"session": str(session.uuid)}
    wait_until("the end of its sandbox", lambda: not aio.run(provider.list(labels)), 20)


def test_the_reconciler_sends_what_was_forgotten() -> None:
    session = start(scripted_config(rules(turn(1, "1"))))
    step = first_step(session)
    lose_worker(step)
    message = OutboxMessage.objects.create(task=EXECUTE_STEP, args=[str(step.uuid)])
    OutboxMessage.objects.filter(pk=message.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    done = reconcile()
    assert (done["outbox"], done["steps"]) == (1, 1)
    assert not OutboxMessage.objects.filter(pk=message.pk).exists()


def test_the_reconciler_ends_a_session_past_its_wall_time() -> None:
    session = start(scripted_config(rules(turn(1, "1"))))
    Session.objects.filter(pk=session.pk).update(created_at=timezone.now() - timedelta(days=1))
    assert reconcile()["overdue"] == 1
    session.refresh_from_db()
    assert (session.status, session.error_type) == ("limited", "LimitReached")


def test_a_sandbox_that_nobody_wants_is_ended() -> None:
    session = start(scripted_config(rules(turn(1, "print(1)"), turn(2, ANSWER.format("1")))))
    run_to_end(session)
    record = SandboxRecord.objects.get(session_uuid=session.uuid)
    SandboxRecord.objects.filter(pk=record.pk).update(
        state=SandboxRecord.State.RUNNING, created_at=timezone.now() - timedelta(hours=1)
    )
    end_orphans()
    record.refresh_from_db()
    assert record.state == SandboxRecord.State.TERMINATED


def lose_sandbox(session: Session) -> None:
    """The root's sandbox is gone as soon as nobody looks."""
    sandbox_services.terminate([Node.objects.get(session=session, number=0).sandbox_ref])


def test_a_lost_sandbox_is_restored_and_its_cells_are_not_run_again() -> None:
    """The number is drawn by chance: only the saved state has it."""
    script = rules(
        turn(1, "drawn = __import__('random').random()\nprint(drawn)"),
        {**turn(2, ANSWER.format("drawn")), "latency_ms": 1500},
    )
    session = start(scripted_config(script))
    lost = threading.Thread(target=lose_after_first_snapshot, args=(session,))
    lost.start()
    run_to_end(session)
    lost.join()
    events = log(session)
    assert session.status == "finished", session.error_message
    [printed] = [event["text"] for event in events if event["type"] == "cell.output"]
    assert session.answer == printed.strip()
    assert [event["state"] for event in events if event["type"] == "node.sandbox"] == [
        *("ready", "lost", "rebuilt", "ended")
    ]


def lose_after_first_snapshot(session: Session) -> None:
    wait_until("a snapshot", lambda: Event.objects.filter(session=session, type="snapshot.taken").exists(), 20)
    lose_sandbox(session)
    connection.close()


def test_what_a_snapshot_lacks_is_made_again_from_the_one_before() -> None:
    """A lock that is held cannot be saved: the cell that makes it runs again, the one before it does not."""
    script = rules(
        turn(1, "drawn = __import__('random').random()\nprint(drawn)"),
        turn(2, "lock = __import__('threading').Lock()\nlock.acquire()"),
        {**turn(3, ANSWER.format("(drawn, lock.locked())")), "latency_ms": 1500},
    )
    session = start(scripted_config(script))

    def lose() -> None:
        wait_until("snapshots", lambda: Event.objects.filter(session=session, type="snapshot.taken").count() == 2, 20)
        lose_sandbox(session)
        connection.close()

    lost = threading.Thread(target=lose)
    lost.start()
    run_to_end(session)
    lost.join()
    assert session.status == "finished", session.error_message
    [printed] = [event["text"] for event in log(session) if event["type"] == "cell.output"]
    assert session.answer == f"({printed.strip()}, True)"
