"""Keeping rollouts going: forking the branches that are due and scoring those that are over.

The clock of a worker looks every few seconds which rollouts have something to do, and starts a short job for each; the job
does it and ends, so that no worker waits for branches. Everything is read from the rows: who dies in the middle leaves a
branch that the next job forks or scores. A branch is forked under a lock of its row, and so never twice.
"""

from __future__ import annotations

import msgspec
from django.db.models import Q, QuerySet
from django.utils import timezone

from runs.access import Actor
from runs.models import Job, Rollout, RolloutBranch, Session
from runs.replay.rollouts.branching import due_branches, fork_branch
from runs.replay.rollouts.costs import left_micro_usd
from runs.replay.rollouts.scorers import InvalidScorer
from runs.replay.rollouts.scoring import ACTIVE, note_score, score_or_start, to_score
from runs.services.jobs import JobRun, job_kind, start_job
from runs.services.sessions import stop_session

KEEP_ROLLOUT = "rollout"
MAX_FAILURES = 5
"""Jobs of a rollout that may fail one after another before the rollout is given up."""


def keep_rollouts() -> int:
    """One look by the clock; how many jobs were started."""
    started = 0
    for rollout in Rollout.objects.filter(status=Rollout.Status.RUNNING).select_related("session__team", "created_by"):
        last = list(_jobs(rollout)[:MAX_FAILURES])
        if any(job.status in ACTIVE for job in last) or not has_work(rollout):
            continue
        if len(last) == MAX_FAILURES and all(job.status == Job.Status.FAILED for job in last):
            end_rollout(rollout, Rollout.Status.FAILED, last[0].error_type, last[0].error_message)
            continue
        actor = Actor(rollout.created_by, "worker")
        args = {"rollout": str(rollout.uuid)}
        start_job(KEEP_ROLLOUT, team=rollout.session.team, session=rollout.session, actor=actor, args=args)
        started += 1
    _stop_left_over()
    return started


def has_work(rollout: Rollout) -> bool:
    return (
        bool(due_branches(rollout))
        or to_score(rollout).exists()
        or (left_micro_usd(rollout) == 0 and _spending(rollout).exists())
        or not rollout.branches.filter(scored_at=None).exists()
    )


@job_kind(KEEP_ROLLOUT)
def keep_rollout(run: JobRun) -> None:
    """Do what is to be done for one rollout now."""
    found = Rollout.objects.filter(uuid=run.args["rollout"], status=Rollout.Status.RUNNING)
    rollout = found.select_related("session__team", "created_by").first()
    if rollout is None:
        return
    try:
        _keep(run, rollout)
    except (InvalidScorer, msgspec.ValidationError) as error:
        message = f"the rollout was stored by another release: {error}"
        end_rollout(rollout, Rollout.Status.FAILED, type(error).__name__, message)


def _keep(run: JobRun, rollout: Rollout) -> None:
    for branch in to_score(rollout):
        run.check()
        score_or_start(rollout, branch)
    for branch in due_branches(rollout):
        run.check()
        if left_micro_usd(rollout) == 0:
            break
        fork_branch(rollout, branch)
    if left_micro_usd(rollout) == 0 and _spending(rollout).exists():
        _stop_spending(rollout)
    if not rollout.branches.filter(scored_at=None).exists():
        end_rollout(rollout, Rollout.Status.FINISHED)


def _spending(rollout: Rollout) -> QuerySet[RolloutBranch]:
    """Branches that run or are still to be forked."""
    would_run = Q(session=None) | Q(session__status=Session.Status.RUNNING)
    return rollout.branches.filter(would_run, scored_at=None)


def _stop_spending(rollout: Rollout) -> None:
    """The limit on cost is reached. What is over is still scored, so that nothing that was paid for is lost."""
    message = f"The branches have cost {rollout.max_cost_usd:g} US dollars, as much as they may together."
    Rollout.objects.filter(pk=rollout.pk).update(error_type="LimitReached", error_message=message)
    for branch in rollout.branches.filter(session=None, scored_at=None):
        note_score(branch, None, "not forked: the rollout has cost as much as it may")
    _stop_branches(rollout.branches.filter(scored_at=None), Actor(rollout.created_by, "worker"))


def end_rollout(
    rollout: Rollout, status: str, error_type: str = "", error_message: str = "", *, actor: Actor | None = None
) -> bool:
    """End it with all of its branches. Idempotent; False when it was over already."""
    ended = {"status": status, "finished_at": timezone.now()}
    if error_type:
        ended |= {"error_type": error_type[:64], "error_message": error_message[:4000]}
    if not Rollout.objects.filter(pk=rollout.pk, status=Rollout.Status.RUNNING).update(**ended):
        return False
    if status != Rollout.Status.FINISHED:
        left = RolloutBranch.objects.filter(rollout=rollout, scored_at=None)
        left.update(note="the rollout ended before it was scored", scored_at=timezone.now())
        _stop_branches(rollout.branches.all(), actor or Actor(rollout.created_by, "worker"))
    return True


def _stop_left_over() -> None:
    """Whoever ended a rollout may have died before its branches were stopped."""
    ended = (Rollout.Status.STOPPED, Rollout.Status.FAILED)
    _stop_branches(RolloutBranch.objects.filter(rollout__status__in=ended), Actor(None, "worker"))


def _stop_branches(branches: QuerySet[RolloutBranch], actor: Actor) -> None:
    sessions = Session.objects.filter(rollout_branches__in=branches, status=Session.Status.RUNNING)
    for session in sessions.select_related("team"):
        stop_session(session, actor=actor)


def _jobs(rollout: Rollout) -> QuerySet[Job]:
    """Newest first."""
    return Job.objects.filter(kind=KEEP_ROLLOUT, session=rollout.session, args__rollout=str(rollout.uuid))
