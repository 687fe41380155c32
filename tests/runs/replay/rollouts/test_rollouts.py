"""Rollouts of real sessions: branches are forked, scored, stopped, and survive whoever keeps them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from runs.access import Actor
from runs.models import Job, Rollout, RolloutBranch, Session, Step
from runs.replay.changes import Changes
from runs.replay.rollouts.keeping import KEEP_ROLLOUT, keep_rollouts
from runs.replay.rollouts.results import to_csv, to_plain
from runs.replay.rollouts.scorers import (
    CannotScore,
    Contains,
    Exact,
    InvalidScorer,
    Judge,
    Numeric,
    PythonFunction,
    Regex,
    Scorer,
    score,
    scorer_from_plain,
)
from runs.replay.rollouts.scoring import SCORE_BRANCH
from runs.replay.rollouts.starting import CannotRollOut, start_rollout, stop_rollout
from runs.services.execution import execute_step
from runs.services.jobs import run_job
from runs.services.snapshots.reading import SnapshotMissing
from sandboxes.models import Snapshot
from tests.factories import make_session
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


def begin(source: Session, steps: list[int], branches: int, scorer: Scorer, **fields: Any) -> Rollout:
    actor = Actor(source.created_by, "test")
    return start_rollout(
        actor=actor,
        session=source,
        node=0,
        steps=steps,
        branches=branches,
        scorer=scorer,
        changes=fields.get("changes", Changes()),
        max_cost_usd=fields.get("max_cost_usd"),
    )


def keep() -> int:
    """One look by the clock, and the keepers' jobs that it starts."""
    started = keep_rollouts()
    for uuid in Job.objects.filter(kind=KEEP_ROLLOUT, status=Job.Status.READY).values_list("uuid", flat=True):
        run_job(uuid)
    return started


def keep_until_over(rollout: Rollout, timeout_s: float = 90) -> None:
    """As workers would: rounds of the keeper, steps and jobs that are due."""
    deadline = time.monotonic() + timeout_s
    while rollout.status == Rollout.Status.RUNNING:
        assert time.monotonic() < deadline, "the rollout did not come to its end"
        keep_rollouts()
        for uuid in Step.objects.filter(status=Step.Status.READY).values_list("uuid", flat=True):
            execute_step(uuid)
        for uuid in Job.objects.filter(status=Job.Status.READY).values_list("uuid", flat=True):
            run_job(uuid)
        rollout.refresh_from_db()


def test_eight_branches_from_two_steps_are_forked_and_scored() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    rollout = begin(source, [1, 2], 4, Exact("done"))
    keep_until_over(rollout)
    plain = to_plain(rollout)
    assert plain["status"] == "finished"
    assert [(each["step"], each["scored"], each["right"]) for each in plain["steps"]] == [(1, 4, 4), (2, 4, 4)]
    sessions = [branch.session for branch in rollout.branches.all()]
    assert len({session.pk for session in sessions if session is not None}) == 8
    assert all(session is not None and session.hidden and session.origin["kind"] == "branch" for session in sessions)
    assert to_csv(rollout).count("\r\n") == 9
    assert json.loads(json.dumps(plain)) == plain


def test_the_step_where_it_went_wrong_stands_out() -> None:
    source = run_cells("x = 1", "x = 2", "x = 3")
    rollout = begin(source, [1, 2], 3, Exact("done"))
    keep_until_over(rollout)
    # The script answers the same from every step, so the drop is put in by hand.
    RolloutBranch.objects.filter(rollout=rollout, step_number=2).update(score=0.0)
    drop = to_plain(rollout)["largest_drop"]
    # Three of three and none of three: the intervals still overlap, and it says so.
    assert drop == {"before": 1, "after": 2, "by": 1.0, "certain": False}


def test_a_score_in_a_sandbox_is_a_job_of_its_own_and_made_once() -> None:
    source = run_cells("x = [1]")
    source_code = "def score(answer, expected, question):\n    return 0.75 if answer == expected else 0"
    rollout = begin(source, [1], 2, PythonFunction(source_code, "done"))
    keep_until_over(rollout)
    assert [branch.score for branch in rollout.branches.all()] == [0.75, 0.75]
    assert Job.objects.filter(kind=SCORE_BRANCH).count() == 2


def test_a_branch_that_cannot_be_forked_says_why_and_holds_nobody_up() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    rollout = begin(source, [1, 2], 1, Exact("done"))
    Snapshot.objects.filter(session_uuid=source.uuid, step_number=2).update(collected_at="2026-01-01T00:00:00Z")
    keep_until_over(rollout)
    failed = rollout.branches.get(step_number=2)
    assert failed.score is None
    assert "could not be forked" in failed.note
    assert [each["failed"] for each in to_plain(rollout)["steps"]] == [0, 1]


def test_a_stopped_rollout_stops_its_branches() -> None:
    source = run_cells("x = [1]")
    rollout = begin(source, [1], 3, Exact("done"))
    keep()
    assert rollout.branches.filter(session__status="running").count() == 3
    assert stop_rollout(rollout, actor=Actor(None, "test")) is True
    assert stop_rollout(rollout, actor=Actor(None, "test")) is False
    assert set(Session.objects.filter(hidden=True).values_list("status", flat=True)) == {"stopped"}
    assert keep() == 0


def test_no_more_branches_run_at_once_than_allowed(settings: Any) -> None:
    settings.ROLLOUT_BRANCHES = 2
    source = run_cells("x = [1]")
    rollout = begin(source, [1], 5, Exact("done"))
    keep()
    keep()
    assert rollout.branches.exclude(session=None).count() == 2
    keep_until_over(rollout)
    assert rollout.branches.filter(score=1.0).count() == 5


@pytest.mark.parametrize(
    ("steps", "branches", "message"),
    [
        ([], 3, "at least one step"),
        ([1], 0, "Between 1 and 64"),
        ([1], 65, "Between 1 and 64"),
        ([7], 1, "no finished"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(steps: list[int], branches: int, message: str) -> None:
    source = run_cells("x = [1]")
    with pytest.raises(CannotRollOut, match=message):
        begin(source, steps, branches, Exact("done"))
    assert not Rollout.objects.exists()


def test_a_step_without_a_snapshot_is_named() -> None:
    source = run_cells("x = [1]")
    Snapshot.objects.filter(session_uuid=source.uuid, step_number=1).delete()
    with pytest.raises(SnapshotMissing, match="step 1"):
        begin(source, [1], 1, Exact("done"))


@pytest.mark.parametrize(
    ("scorer", "answer", "value"),
    [
        (Exact("Ada Lovelace"), " ada  lovelace. ", 1.0),
        (Exact("Ada", loose=False), "ada", 0.0),
        (Contains("42"), "it is 42, I think", 1.0),
        (Numeric(1234.5, 0.1), "first 3, then 1,234.45", 1.0),
        (Exact("Zoë"), "Zoe\u0308", 1.0),
        (Contains("42", loose=False), "it is 4 2", 0.0),
        (Numeric(10), "none here", 0.0),
        (Numeric(12), "lines 10-12", 1.0),
        (Numeric(-12), "x = -12.", 1.0),
        (Numeric(-12), "about \u221212", 1.0),
        (Numeric(0.5), "a share of .5", 1.0),
        (Numeric(0.2, 0.1), "0.3", 1.0),
        (Numeric(1e6), "1,000,000 rows", 1.0),
        (Numeric(5), "9" * 50_000, 0.0),
        (Regex(r"^\d{3}-\w+$"), "123-abc", 1.0),
        (Regex(r"^\d{3}$"), "12", 0.0),
        (PythonFunction("def score(answer, expected, question):\n    return len(answer) > 3"), "long", 1.0),
    ],
)
def test_scorers(scorer: Scorer, answer: str, value: float) -> None:
    assert score(scorer, answer, make_session()).value == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def score(answer, expected, question):\n    while True: pass", "took more than"),
        ("def score(answer, expected, question):\n    return 'high'", "not True, False or a number"),
        ("def score(answer, expected, question):\n    return 7", "not between 0 and 1"),
        ("def score(answer, expected, question):\n    return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_function_that_does_not_score_says_why(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.replay.rollouts.scorers.SCORE_TIMEOUT_S", 1.0)
    with pytest.raises(CannotScore, match=message):
        score(PythonFunction(source), "x", make_session())


def test_a_catastrophic_regular_expression_is_cut_off_in_its_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.replay.rollouts.scorers.SCORE_TIMEOUT_S", 1.0)
    with pytest.raises(CannotScore, match=r"took more than|killed"):
        score(Regex(r"(a+)+$"), "a" * 40 + "b", make_session())


def test_a_judge_is_asked_and_its_verdict_read() -> None:
    session = make_session()
    script = {"rules": [], "default": {"reply": "WRONG: it is not what was asked"}}
    session.config = {"root": {"api": "scripted", "model": "scripted:inline", "extra": {"script": script}}}
    found = score(Judge("is it right?"), "an answer", session)
    assert found.value == 0.0
    assert "scripted" in found.note
    assert found.micro_usd == 0
    session.config["root"]["extra"]["script"]["default"]["reply"] = "hm"
    with pytest.raises(CannotScore, match="neither RIGHT nor WRONG"):
        score(Judge("is it right?"), "an answer", session)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"kind": "exact", "expected": " "}, "which answer"),
        ({"kind": "regex", "pattern": "("}, "regular expression"),
        ({"kind": "python", "source": "x = 1"}, "must define"),
        ({"kind": "python", "source": "def score("}, "not valid Python"),
        ({"kind": "numeric", "expected": 1, "tolerance": -1}, "not valid"),
        ({"kind": "magic"}, "not valid"),
        ({"kind": "judge", "rubric": ""}, "rubric"),
        ({"kind": "regex", "pattern": ""}, "regular expression"),
        ({"kind": "regex", "pattern": "x" * 2001}, "not valid"),
        ([], "not valid"),
    ],
)
def test_an_invalid_scorer_is_refused(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidScorer, match=message):
        scorer_from_plain(plain)
