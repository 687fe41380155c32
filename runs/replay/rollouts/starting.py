"""Rollouts: started, stopped. Their branches are forked and scored by `keeping`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import Node, Rollout, RolloutBranch, Session, Step
from runs.replay.changes import Changes, changes_to_plain
from runs.replay.rollouts.scorers import Scorer, scorer_to_plain
from runs.services.sessions import stop_session
from runs.services.snapshots.reading import require_snapshot

MOST_PER_STEP = 64
MOST_BRANCHES = 1000


class CannotRollOut(ValueError):
    """The rollout cannot be made as asked; the message says why and what to do."""


def start_rollout(
    *, actor: Actor, session: Session, node: int, steps: Sequence[int], branches: int, scorer: Scorer, changes: Changes
) -> Rollout:
    """Begin a rollout of `branches` forks from the end of each of `steps` (0: from the start).

    Raises `CannotRollOut`, `SnapshotError` before anything is written.
    """
    wanted = sorted(set(steps))
    if not wanted:
        raise CannotRollOut("Choose at least one step to branch from.")
    if not 1 <= branches <= MOST_PER_STEP:
        raise CannotRollOut(f"Between 1 and {MOST_PER_STEP} branches can be forked from a step, not {branches}.")
    if len(wanted) * branches > MOST_BRANCHES:
        raise CannotRollOut(f"{len(wanted) * branches} branches are too many at once; the most is {MOST_BRANCHES}.")
    top = Node.objects.filter(session=session, number=node).first()
    if top is None:
        raise CannotRollOut(f"The session has no node {node}.")
    for step in wanted:
        if step == 0:
            continue
        found = Step.objects.filter(node=top, number=step).first()
        if found is None or found.finished_at is None:
            raise CannotRollOut(f"Node {node} has no finished step {step}.")
        require_snapshot(session, node, step)
    with transaction.atomic():
        rollout = Rollout.objects.create(
            session=session,
            created_by=actor.user,
            node_number=node,
            steps=wanted,
            branches_per_step=branches,
            scorer=scorer_to_plain(scorer),
            changes=changes_to_plain(changes),
        )
        RolloutBranch.objects.bulk_create(
            RolloutBranch(rollout=rollout, step_number=step, index=index)
            for step in wanted
            for index in range(1, branches + 1)
        )
        audit(
            "rollout.start",
            actor=actor.name,
            object_type="rollout",
            object_id=rollout.uuid,
            team_uuid=session.team.uuid,
            source=actor.source,
            details={"session": str(session.uuid), "node": node, "steps": wanted, "branches": branches},
        )
    return rollout


def stop_rollout(rollout: Rollout, *, actor: Actor) -> bool:
    """Stop it with all of its branches. Idempotent; False when it was over already."""
    running = Rollout.objects.filter(pk=rollout.pk, status=Rollout.Status.RUNNING)
    if not running.update(status=Rollout.Status.STOPPED, finished_at=timezone.now()):
        return False
    for branch in rollout.branches.filter(session__status=Session.Status.RUNNING).select_related("session__team"):
        assert branch.session is not None
        stop_session(branch.session, actor=actor)
    return True
