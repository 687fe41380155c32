"""Keeping rollouts going: a round that forks the branches that are due and scores those that have ended.

It runs in the workers every few seconds, one at a time for the installation, and works from the rows alone: a worker that
dies in the middle leaves a branch that is forked or scored in the next round. A branch's row is locked in the transaction
that forks it, so it is never forked twice. Scores that take time are jobs of their own.
"""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from runs.access import Actor
from runs.blobs import blob_store
from runs.events.fold import fold_line
from runs.events.read import all_after
from runs.events.tree import Tree
from runs.events.types import BlobText
from runs.models import Job, Rollout, RolloutBranch, Session
from runs.replay.changes import Changes, changes_from_plain
from runs.replay.forks import CannotFork, fork_session
from runs.replay.rollouts.scorers import CannotScore, Contains, Exact, Numeric, score, scorer_from_plain
from runs.services.config import InvalidConfig
from runs.services.jobs import JobRun, job_kind, start_job
from runs.services.snapshots.reading import SnapshotError

ROUND_BRANCHES = 16
SCORE_BRANCH = "score_branch"
QUICK = (Exact, Contains, Numeric)
"""Scorers that need neither a sandbox nor a model."""
ENDED = (Session.Status.FINISHED, Session.Status.LIMITED, Session.Status.STOPPED, Session.Status.FAILED)


def keep_rollouts() -> int:
    """One round; how many branches were forked or scored."""
    done = 0
    for rollout in Rollout.objects.filter(status=Rollout.Status.RUNNING).select_related("session__team", "created_by"):
        done += _score(rollout) + _fork(rollout)
        _finish(rollout)
    return done


def _fork(rollout: Rollout) -> int:
    running = rollout.branches.filter(session__status=Session.Status.RUNNING).count()
    free = min(settings.ROLLOUT_BRANCHES - running, ROUND_BRANCHES)
    due = list(rollout.branches.filter(session=None, scored_at=None).order_by("index", "step_number")[: max(0, free)])
    changes = changes_from_plain(rollout.changes)
    for branch in due:
        try:
            with transaction.atomic():
                mine = RolloutBranch.objects.select_for_update().get(pk=branch.pk)
                if mine.session_id is None and mine.scored_at is None:
                    mine.session = _forked(rollout, mine, changes)
                    mine.save(update_fields=["session"])
        except (CannotFork, SnapshotError, InvalidConfig) as error:
            _note(branch, None, f"it could not be forked: {error}")
    return len(due)


def _forked(rollout: Rollout, branch: RolloutBranch, changes: Changes) -> Session:
    return fork_session(
        actor=Actor(rollout.created_by, "worker"),
        team=rollout.session.team,
        source=rollout.session,
        node=rollout.node_number,
        step=branch.step_number,
        changes=_with_seed(rollout, branch, changes),
        title=f"{rollout.session.title[:80]} · step {branch.step_number}, branch {branch.index}",
        hidden=True,
        rollout=str(rollout.uuid),
    )


def _with_seed(rollout: Rollout, branch: RolloutBranch, changes: Changes) -> Changes:
    """Every branch draws anew, where the API takes a seed: branches with one seed would all be the same."""
    config = dict(changes.config if changes.config is not None else rollout.session.config)
    for role in ("root", "sub"):
        model = config.get(role)
        if isinstance(model, dict) and model.get("api") in ("openai", "embedded"):
            seed = (rollout.pk * 1_000_003 + branch.step_number * 1_009 + branch.index) % 2**31
            config[role] = {**model, "sampling": {**model.get("sampling", {}), "seed": seed}}
    return msgspec.structs.replace(changes, config=config)


def _score(rollout: Rollout) -> int:
    quick = isinstance(scorer_from_plain(rollout.scorer), QUICK)
    ended = rollout.branches.filter(scored_at=None, session__status__in=ENDED).select_related("session__team")
    found = list(ended[:ROUND_BRANCHES])
    for branch in found:
        session = branch.session
        assert session is not None
        if session.status != Session.Status.FINISHED:
            _note(branch, None, f"the branch ended as {session.status}: {session.error_message or 'no answer'}")
            continue
        if quick:
            _score_branch(rollout, branch)
        elif not Job.objects.filter(kind=SCORE_BRANCH, session=session).exists():
            actor = Actor(rollout.created_by, "worker")
            start_job(SCORE_BRANCH, team=session.team, session=session, actor=actor, args={"branch": branch.pk})
    return len(found)


@job_kind(SCORE_BRANCH)
def score_branch(run: JobRun) -> None:
    """Score one branch in a sandbox or by a model."""
    branch = RolloutBranch.objects.select_related("session__team", "rollout").filter(pk=run.args["branch"]).first()
    if branch is None or branch.session is None or branch.scored_at is not None:
        return
    _score_branch(branch.rollout, branch)


def _score_branch(rollout: Rollout, branch: RolloutBranch) -> None:
    assert branch.session is not None
    try:
        result = score(scorer_from_plain(rollout.scorer), _answer_of(branch.session), branch.session)
    except CannotScore as error:
        _note(branch, None, str(error))
    else:
        _note(branch, result.value, result.note)


def _answer_of(session: Session) -> str:
    """The whole answer: the row holds its beginning only."""
    tree = Tree()
    for line in all_after(session.pk):
        fold_line(tree, line)
    answer = tree.answer
    if isinstance(answer, BlobText):
        return blob_store().text(answer.sha256)
    return answer or ""


def _note(branch: RolloutBranch, value: float | None, note: str) -> None:
    RolloutBranch.objects.filter(pk=branch.pk, scored_at=None).update(
        score=value, note=note[:2000], scored_at=timezone.now()
    )


def _finish(rollout: Rollout) -> None:
    if not rollout.branches.filter(scored_at=None).exists():
        Rollout.objects.filter(pk=rollout.pk, status=Rollout.Status.RUNNING).update(
            status=Rollout.Status.FINISHED, finished_at=timezone.now()
        )
