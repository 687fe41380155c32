"""Rollouts go on whatever dies, stop when they are stopped, and end when nothing is left to do."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from rlmweb.bench.outside import wait_until
from runs.access import Actor
from runs.models import Job, Rollout, RolloutBranch, Session, SessionMeter
from runs.replay.forks import fork_session
from runs.replay.rollouts import branching, keeping, scoring
from runs.replay.rollouts.branching import fork_branch
from runs.replay.rollouts.costs import rests_after, spent_micro_usd
from runs.replay.rollouts.keeping import KEEP_ROLLOUT, keep_rollouts
from runs.replay.rollouts.scorers import CannotScore, Exact, NoSandbox, PythonFunction, Score
from runs.replay.rollouts.scoring import SCORE_BRANCH
from runs.replay.rollouts.starting import CannotRollOut, stop_rollout
from runs.services.jobs import due_jobs, run_job
from tests.runs.replay.rollouts.test_rollouts import begin, keep, keep_until_over
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
READY_AGE = timedelta(seconds=0)
SCORER = PythonFunction("def score(answer, expected, question):\n    return True")


class Killed(BaseException):
    """The process dies here: nothing that handles errors runs."""


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)")


def lose_workers() -> None:
    """Leases of jobs that somebody has run out."""
    Job.objects.filter(status=Job.Status.RUNNING).update(lease_expires_at=Now() - timedelta(seconds=1))


@pytest.mark.parametrize("moment", range(5))
def test_a_keeper_that_dies_between_forks_leaves_the_rest_to_the_next(
    source: Session, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """After `moment` forks; the one at which it dies is undone with its transaction."""
    rollout = begin(source, [1, 2], 2, Exact("done"))
    forked = [0]

    def dying(**options: Any) -> Session:
        if forked[0] == moment:
            raise Killed
        forked[0] += 1
        session = fork_session(**options)
        if forked[0] == moment:
            raise Killed
        return session

    monkeypatch.setattr(branching, "fork_session", dying)
    keep_rollouts()
    job = Job.objects.get(kind=KEEP_ROLLOUT)
    with pytest.raises(Killed):
        run_job(job.uuid)
    monkeypatch.setattr(branching, "fork_session", fork_session)
    lose_workers()
    for uuid in due_jobs(10, READY_AGE):
        run_job(uuid)
    keep_until_over(rollout)
    assert Session.objects.filter(hidden=True).count() == 4
    assert rollout.branches.filter(score=1.0).count() == 4


def test_a_scorer_that_dies_is_asked_again_and_the_first_score_counts(
    source: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = begin(source, [1], 1, SCORER)
    asked: list[int] = []

    def dying(*_: Any) -> Score:
        asked.append(1)
        if len(asked) == 1:
            raise Killed
        return Score(0.5)

    monkeypatch.setattr(scoring, "score", dying)
    with pytest.raises(Killed):
        keep_until_over(rollout)
    assert rollout.branches.get().scored_at is None
    lose_workers()
    for uuid in due_jobs(10, READY_AGE):
        run_job(uuid)
    keep_until_over(rollout)
    assert rollout.branches.get().score == 0.5
    scoring.note_score(rollout.branches.get(), 1.0, "late")
    assert rollout.branches.get().score == 0.5


def test_a_score_that_breaks_does_not_hold_the_rollout_open(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Score:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(scoring, "score", broken)
    rollout = begin(source, [1], 2, SCORER)
    keep_until_over(rollout)
    assert rollout.status == Rollout.Status.FINISHED
    assert ["out of luck" in branch.note for branch in rollout.branches.all()] == [True, True]


def test_without_a_sandbox_it_is_tried_again_and_not_for_ever(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PAUSE", timedelta(0))
    rollout = begin(source, [1], 2, SCORER)
    tries: list[int] = []

    def scarce(_: Any, answer: str, session: Session) -> Score:
        tries.append(session.pk)
        if session.rollout_branches.get().index == 1 and tries.count(session.pk) == 3:
            return Score(1.0)
        raise NoSandbox("the service is away")

    monkeypatch.setattr(scoring, "score", scarce)
    keep_until_over(rollout)
    first, second = rollout.branches.order_by("index")
    assert first.score == 1.0
    assert second.note == "it could not be scored: the service is away"
    assert len(tries) == 3 + scoring.MAX_TRIES


def test_a_fork_that_breaks_is_told_and_the_others_go_on(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> Session:
        if options["step"] == 2:
            raise RuntimeError("no such luck")
        return fork_session(**options)

    monkeypatch.setattr(branching, "fork_session", broken)
    rollout = begin(source, [1, 2], 1, Exact("done"))
    keep_until_over(rollout)
    assert rollout.branches.get(step_number=1).score == 1.0
    assert "could not be forked: RuntimeError" in rollout.branches.get(step_number=2).note


def test_a_rollout_whose_keepers_fail_again_and_again_is_given_up(
    source: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[RolloutBranch]:
        raise RuntimeError("always")

    rollout = begin(source, [1], 1, Exact("done"))
    monkeypatch.setattr(keeping, "_keep", broken)
    for _ in range(keeping.MAX_FAILURES):
        assert keep() == 1
    assert keep() == 0
    rollout.refresh_from_db()
    assert (rollout.status, rollout.error_message) == ("failed", "always")
    assert rollout.branches.filter(scored_at=None).count() == 0


def test_a_rollout_that_this_release_cannot_read_fails_and_says_so(source: Session) -> None:
    rollout = begin(source, [1], 1, Exact("done"))
    Rollout.objects.filter(pk=rollout.pk).update(scorer={"kind": "crystal ball"})
    rollout.refresh_from_db()
    keep_until_over(rollout)
    assert rollout.status == Rollout.Status.FAILED
    assert "another release" in rollout.error_message


def test_stopping_waits_for_the_branch_that_is_being_forked(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = begin(source, [1], 1, Exact("done"))

    def stop() -> None:
        stop_rollout(Rollout.objects.get(), actor=Actor(None, "test"))
        connection.close()

    stopper = Thread(target=stop)

    def slow(**options: Any) -> Session:
        session = fork_session(**options)
        stopper.start()
        wait_until("the stop waits for the lock", _somebody_waits, 20)
        return session

    monkeypatch.setattr(branching, "fork_session", slow)
    fork_branch(rollout, rollout.branches.get())
    stopper.join(20)
    assert not stopper.is_alive()
    session = rollout.branches.get().session
    assert session is not None
    assert session.status == Session.Status.STOPPED


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        row = cursor.fetchone()
    return bool(row and row[0])


def test_nothing_is_forked_after_the_stop(source: Session) -> None:
    rollout = begin(source, [1], 2, Exact("done"))
    stop_rollout(rollout, actor=Actor(None, "test"))
    for branch in rollout.branches.all():
        fork_branch(rollout, branch)
    assert not Session.objects.filter(hidden=True).exists()
    assert {branch.note for branch in rollout.branches.all()} == {"the rollout ended before it was scored"}


def test_branches_are_stopped_when_whoever_stopped_the_rollout_died(source: Session) -> None:
    rollout = begin(source, [1], 2, Exact("done"))
    keep()
    Rollout.objects.filter(pk=rollout.pk).update(status=Rollout.Status.STOPPED)
    keep_rollouts()
    assert set(Session.objects.filter(hidden=True).values_list("status", flat=True)) == {"stopped"}


def test_what_the_branches_cost_ends_them_at_the_limit(source: Session, settings: Any) -> None:
    settings.ROLLOUT_BRANCHES = 2
    rollout = begin(source, [1], 4, Exact("done"), max_cost_usd=0.5)
    keep()
    first, second = Session.objects.filter(hidden=True)
    assert [session.config["limits"]["max_cost_usd"] for session in (first, second)] == [0.5, 0.5]
    SessionMeter.objects.filter(session=first).update(cost_micro_usd=200_000)
    assert keep() == 0
    SessionMeter.objects.filter(session=second).update(cost_micro_usd=300_000)
    assert keep() == 1
    keep_until_over(rollout)
    assert spent_micro_usd(rollout) == 500_000
    assert (rollout.status, rollout.error_type) == ("finished", "LimitReached")
    notes = [branch.note for branch in rollout.branches.all()]
    assert [note.partition(":")[0] for note in notes] == ["the branch ended as stopped"] * 2 + ["not forked"] * 2


def test_what_a_judge_cost_counts(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "QUICK", ())

    def costly(*_: Any) -> Score:
        raise CannotScore("it said neither", 1234)

    monkeypatch.setattr(scoring, "score", costly)
    rollout = begin(source, [1], 2, Exact("done"))
    keep_until_over(rollout)
    assert spent_micro_usd(rollout) == 2468


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(source: Session, limit: float) -> None:
    with pytest.raises(CannotRollOut, match="limit on cost"):
        begin(source, [1], 1, Exact("done"), max_cost_usd=limit)


def test_nothing_is_started_while_there_is_nothing_to_do(source: Session) -> None:
    begin(source, [1], 2, Exact("done"))
    assert keep() == 1
    assert keep_rollouts() == 0
    assert Job.objects.exclude(kind=SCORE_BRANCH).count() == 1


def test_the_estimate_is_what_the_session_spent_after_the_step() -> None:
    session = run_cells("x = 1", "y = rlm_query('look')\nz = llm_query('more')", "x = 3")
    calls = session.lm_calls.all()
    calls.update(cost_micro_usd=100)
    late = calls.filter(step__node__number=1)
    assert late.exists()
    rests = rests_after(session, 0, [0, 1, 2, 3, 4])
    assert rests[0].micro_usd == 100 * calls.count()
    assert rests[1].micro_usd == 100 * (calls.count() - 1)
    assert rests[2].micro_usd == 200
    assert rests[4].micro_usd == 0
    late.update(cost_micro_usd=None)
    assert rests_after(session, 0, [1])[1].unpriced_calls == late.count()


def test_two_keepers_at_once_fork_every_branch_once(source: Session) -> None:
    rollout = begin(source, [1, 2], 4, Exact("done"))
    branches = list(rollout.branches.all())

    def fork_all() -> None:
        for branch in branches:
            fork_branch(rollout, branch)
        connection.close()

    keepers = [Thread(target=fork_all) for _ in range(2)]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join(120)
    assert Session.objects.filter(hidden=True).count() == 8
    assert len(set(rollout.branches.values_list("session", flat=True))) == 8
