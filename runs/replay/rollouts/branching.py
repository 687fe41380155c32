"""Forking the branches of a rollout that are due."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from django.conf import settings
from django.db import DatabaseError, transaction

from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import Actor
from runs.models import Rollout, RolloutBranch, Session
from runs.replay.changes import changes_from_plain
from runs.replay.forks import CannotFork, fork_session
from runs.replay.forks.starting import require_fork
from runs.replay.rollouts.costs import MICRO_USD, left_micro_usd
from runs.replay.rollouts.scoring import note_score
from runs.services.config import InvalidConfig, config_from_plain
from runs.services.snapshots.reading import SnapshotError

logger = logging.getLogger(__name__)

SEEDED = ("openai", "embedded")
"""APIs that take a seed. The others draw anew by themselves."""


def free_places(rollout: Rollout) -> int:
    """How many more of its branches may run now."""
    running = rollout.branches.filter(session__status=Session.Status.RUNNING).count()
    return max(0, settings.ROLLOUT_BRANCHES - running)


def due_branches(rollout: Rollout) -> list[RolloutBranch]:
    """Every step gets its first branch before any gets its second: what is known early is known of all steps."""
    due = rollout.branches.filter(session=None, scored_at=None).order_by("index", "step_number")
    return list(due[: free_places(rollout)])


def fork_branch(rollout: Rollout, branch: RolloutBranch) -> None:
    """Fork it unless that is done, or the rollout was stopped. A branch that cannot be forked says why."""
    try:
        # Before the transaction, so that the entry of a refusal outlives it.
        require_fork(
            rollout.session, rollout.session.team, _actor(rollout), config_from_plain(_config(rollout, branch))
        )
        with transaction.atomic():
            # Whoever stops the rollout waits for this lock, and then finds the branch.
            running = Rollout.objects.select_for_update(no_key=True).filter(
                pk=rollout.pk, status=Rollout.Status.RUNNING
            )
            mine = RolloutBranch.objects.select_for_update().filter(pk=branch.pk, session=None, scored_at=None)
            if running.first() is None or (found := mine.first()) is None:
                return
            found.session = _fork(rollout, found)
            found.save(update_fields=["session"])
    except (CannotFork, SnapshotError, InvalidConfig, PolicyRefused, QuotaExceeded) as error:
        note_score(branch, None, f"it could not be forked: {error}")
    except DatabaseError:
        raise
    except Exception as error:
        logger.exception("a branch was not forked", extra={"rollout": str(rollout.uuid), "step": branch.step_number})
        note_score(branch, None, f"it could not be forked: {type(error).__name__}")


def _fork(rollout: Rollout, branch: RolloutBranch) -> Session:
    changes, config = changes_from_plain(rollout.changes), _config(rollout, branch)
    return fork_session(
        actor=_actor(rollout),
        team=rollout.session.team,
        source=rollout.session,
        node=rollout.node_number,
        step=branch.step_number,
        changes=msgspec.structs.replace(changes, config=_within(config, left_micro_usd(rollout))),
        title=f"{rollout.session.title[:80]} · step {branch.step_number}, branch {branch.index}",
        hidden=True,
        rollout=str(rollout.uuid),
    )


def _actor(rollout: Rollout) -> Actor:
    return Actor(rollout.created_by, "worker")


def _config(rollout: Rollout, branch: RolloutBranch) -> dict[str, Any]:
    changes = changes_from_plain(rollout.changes)
    config = dict(changes.config if changes.config is not None else rollout.session.config)
    return _with_seed(config, (rollout.pk * 1_000_003 + branch.step_number * 1_009 + branch.index) % 2**31)


def _with_seed(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Every branch draws anew: with the recorded seed all of them would be the same."""
    seeded = dict(config)
    for role in ("root", "sub"):
        model = config.get(role)
        if isinstance(model, dict) and model.get("api") in SEEDED:
            seeded[role] = {**model, "sampling": {**model.get("sampling", {}), "seed": seed}}
    return seeded


def _within(config: dict[str, Any], left: int | None) -> dict[str, Any]:
    """No branch may cost more than what is left for all."""
    if left is None:
        return config
    limits = dict(config.get("limits", {}))
    own = limits.get("max_cost_usd")
    usd = left / MICRO_USD
    return {**config, "limits": {**limits, "max_cost_usd": usd if own is None else min(own, usd)}}
