"""Scoring the branches of a rollout that are over: at once, or in a job where a sandbox or a model is needed."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from runs.access import Actor
from runs.blobs import blob_store
from runs.events.fold import fold_line
from runs.events.read import all_after
from runs.events.tree import Tree
from runs.events.types import BlobText
from runs.models import Job, Rollout, RolloutBranch, Session
from runs.replay.rollouts.scorers import (
    CannotScore,
    Contains,
    Exact,
    NoSandbox,
    Numeric,
    Score,
    score,
    scorer_from_plain,
)
from runs.services.jobs import JobRun, job_kind, start_job

SCORE_BRANCH = "score_branch"
QUICK = (Exact, Contains, Numeric)
"""Scorers that need neither a sandbox nor a model."""
ENDED = (Session.Status.FINISHED, Session.Status.LIMITED, Session.Status.STOPPED, Session.Status.FAILED)
PAUSE = timedelta(seconds=5)
MAX_TRIES = 8
"""Jobs that may find no sandbox to score in, a pause apart, before the branch is left without a score."""
ACTIVE = (Job.Status.READY, Job.Status.RUNNING)


def to_score(rollout: Rollout) -> QuerySet[RolloutBranch]:
    """Branches that are over, have no score, are in no job's hands and were in none a moment ago."""
    jobs = Job.objects.filter(kind=SCORE_BRANCH, session=OuterRef("session"))
    waits = jobs.filter(Q(status__in=ACTIVE) | Q(finished_at__gt=Now() - PAUSE))
    ended = rollout.branches.filter(scored_at=None, session__status__in=ENDED)
    return ended.exclude(Exists(waits)).select_related("session__team")


def score_or_start(rollout: Rollout, branch: RolloutBranch) -> None:
    """Score the branch, or have a job do it. What ended without an answer has no score, and says why."""
    session = branch.session
    assert session is not None
    if session.status != Session.Status.FINISHED:
        note_score(branch, None, f"the branch ended as {session.status}: {session.error_message or 'no answer'}")
    elif isinstance(scorer_from_plain(rollout.scorer), QUICK):
        _score_branch(rollout, branch)
    elif (last := _last_word(session)) is not None:
        note_score(branch, None, f"it could not be scored: {last}")
    else:
        actor = Actor(rollout.created_by, "worker")
        start_job(SCORE_BRANCH, team=session.team, session=session, actor=actor, args={"branch": branch.pk})


def _last_word(session: Session) -> str | None:
    """Why no other job is to try it; None while one may."""
    tried = list(Job.objects.filter(kind=SCORE_BRANCH, session=session)[:MAX_TRIES])
    if not tried or (tried[0].error_type == NoSandbox.__name__ and len(tried) < MAX_TRIES):
        return None
    return tried[0].error_message or tried[0].status


@job_kind(SCORE_BRANCH)
def score_branch(run: JobRun) -> None:
    """Score one branch in a sandbox or by a model. A judge whose worker dies is asked again."""
    branch = RolloutBranch.objects.select_related("session__team", "rollout").filter(pk=run.args["branch"]).first()
    if branch is None or branch.session is None or branch.scored_at is not None:
        return
    _score_branch(branch.rollout, branch)


def note_score(branch: RolloutBranch, value: float | None, note: str, *, micro_usd: int | None = 0) -> None:
    """Write the score down; the first one counts."""
    RolloutBranch.objects.filter(pk=branch.pk, scored_at=None).update(
        score=value, note=note[:2000], scoring_micro_usd=micro_usd, scored_at=timezone.now()
    )


def _score_branch(rollout: Rollout, branch: RolloutBranch) -> None:
    assert branch.session is not None
    try:
        result: Score = score(scorer_from_plain(rollout.scorer), _answer_of(branch.session), branch.session)
    except NoSandbox:
        raise  # fails the job; another one tries again
    except CannotScore as error:
        note_score(branch, None, str(error), micro_usd=error.micro_usd)
    else:
        note_score(branch, result.value, result.note, micro_usd=result.micro_usd)


def _answer_of(session: Session) -> str:
    """The whole answer: the row holds its beginning only."""
    tree = Tree()
    for line in all_after(session.pk):
        fold_line(tree, line)
    answer = tree.answer
    if isinstance(answer, BlobText):
        return blob_store().text(answer.sha256)
    return answer or ""
