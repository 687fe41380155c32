"""Rollouts: started, stopped. Their branches are forked and scored by `keeping`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from django.db import transaction

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import Node, Rollout, RolloutBranch, Session, Step
from runs.replay.changes import Changes, changes_to_plain
from runs.replay.forks.starting import require_fork
from runs.replay.rollouts.keeping import end_rollout
from runs.replay.rollouts.scorers import Scorer, scorer_to_plain
from runs.services.config import config_from_plain
from runs.services.snapshots.reading import require_snapshot

MOST_PER_STEP = 64
MOST_BRANCHES = 1000


class CannotRollOut(ValueError):
    """The rollout cannot be made as asked; the message says why and what to do."""


def start_rollout(
    *,
    actor: Actor,
    session: Session,
    node: int,
    steps: Sequence[int],
    branches: int,
    scorer: Scorer,
    changes: Changes,
    max_cost_usd: float | None = None,
) -> Rollout:
    """Begin a rollout of `branches` forks from the end of each of `steps` (0: from the start).

    When all of them together have cost `max_cost_usd`, those that run are stopped and no more are forked.
    Raises `CannotRollOut`, `InvalidConfig`, `PolicyRefused`, `SnapshotError` before anything is written.
    """
    wanted = sorted(set(steps))
    if not wanted:
        raise CannotRollOut("Choose at least one step to branch from.")
    if not 1 <= branches <= MOST_PER_STEP:
        raise CannotRollOut(f"Between 1 and {MOST_PER_STEP} branches can be forked from a step, not {branches}.")
    if len(wanted) * branches > MOST_BRANCHES:
        raise CannotRollOut(f"{len(wanted) * branches} branches are too many at once; the most is {MOST_BRANCHES}.")
    if max_cost_usd is not None and not (isfinite(max_cost_usd) and max_cost_usd > 0):
        raise CannotRollOut("The limit on cost must be more than nothing.")
    config = config_from_plain(changes.config if changes.config is not None else session.config)
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
    require_fork(session, session.team, actor, config)
    with transaction.atomic():
        rollout = Rollout.objects.create(
            session=session,
            created_by=actor.user,
            node_number=node,
            steps=wanted,
            branches_per_step=branches,
            scorer=scorer_to_plain(scorer),
            changes=changes_to_plain(changes),
            max_cost_usd=max_cost_usd,
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
    if not end_rollout(rollout, Rollout.Status.STOPPED, actor=actor):
        return False
    audit(
        "rollout.stop",
        actor=actor.name,
        object_type="rollout",
        object_id=rollout.uuid,
        team_uuid=rollout.session.team.uuid,
        source=actor.source,
        details={"session": str(rollout.session.uuid)},
    )
    return True
