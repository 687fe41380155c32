"""What came out of a rollout, per step and per branch; as a table for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from runs.models import Rollout, RolloutBranch, Session
from runs.replay.rollouts.costs import MICRO_USD, spent_micro_usd
from runs.replay.rollouts.statistics import RIGHT_FROM, StepOutcome, largest_drop

MOST_SHOWN = 20
"""Rollouts whose shares stand on the page of their session."""
COLUMNS = ("step", "branch", "status", "score", "right", "answer", "cost_usd", "scoring_usd", "note", "session")


def branches_of(rollout: Rollout) -> list[RolloutBranch]:
    return list(rollout.branches.select_related("session__meter").order_by("step_number", "index"))


def outcomes_of(rollout: Rollout, branches: list[RolloutBranch]) -> list[StepOutcome]:
    return [_outcome(step, [each for each in branches if each.step_number == step]) for step in rollout.steps]


def _outcome(step: int, branches: list[RolloutBranch]) -> StepOutcome:
    scores = [branch.score for branch in branches if branch.score is not None]
    over = [branch for branch in branches if branch.scored_at is not None]
    return StepOutcome(
        step=step,
        branches=len(branches),
        scored=len(scores),
        right=sum(score >= RIGHT_FROM for score in scores),
        running=len(branches) - len(over),
        failed=len(over) - len(scores),
        mean_score=sum(scores) / len(scores) if scores else None,
    )


def shares_of(session: Session) -> dict[str, Any]:
    """Shares by node, with the steps in order: of each step what the newest rollout that has it says."""
    nodes: dict[int, dict[int, dict[str, Any]]] = {}
    rollouts = list(session.rollouts.all()[:MOST_SHOWN])
    for rollout in rollouts:
        outcomes = outcomes_of(rollout, branches_of(rollout))
        drop = largest_drop(outcomes)
        for each in outcomes:
            shown = {"rollout": str(rollout.uuid), "drop": drop is not None and drop.after == each.step}
            shown |= {"step": each.step, "right": each.right, "scored": each.scored, "branches": each.branches}
            shown |= {"share": each.share, "low": each.interval[0], "high": each.interval[1]}
            nodes.setdefault(rollout.node_number, {}).setdefault(each.step, shown)
    return {
        "nodes": {node: [steps[step] for step in sorted(steps)] for node, steps in nodes.items()},
        "running": any(rollout.status == Rollout.Status.RUNNING for rollout in rollouts),
    }


def to_plain(rollout: Rollout) -> dict[str, Any]:
    """Everything about the rollout as plain data."""
    branches = branches_of(rollout)
    outcomes = outcomes_of(rollout, branches)
    drop = largest_drop(outcomes)
    return {
        "uuid": str(rollout.uuid),
        "session": str(rollout.session.uuid),
        "node": rollout.node_number,
        "status": rollout.status,
        "scorer": rollout.scorer,
        "changes": rollout.changes,
        "branches_per_step": rollout.branches_per_step,
        "max_cost_usd": rollout.max_cost_usd,
        "cost_usd": spent_micro_usd(rollout) / MICRO_USD,
        "error": f"{rollout.error_type}: {rollout.error_message}" if rollout.error_type else "",
        "steps": [
            {
                "step": each.step,
                "branches": each.branches,
                "scored": each.scored,
                "right": each.right,
                "running": each.running,
                "failed": each.failed,
                "share": each.share,
                "low": each.interval[0],
                "high": each.interval[1],
                "mean_score": each.mean_score,
            }
            for each in outcomes
        ],
        "largest_drop": None
        if drop is None
        else {"before": drop.before, "after": drop.after, "by": drop.by, "certain": drop.certain},
        "branches": [dict(zip(COLUMNS, _row(branch), strict=True)) for branch in branches],
    }


def to_json(rollout: Rollout) -> str:
    return json.dumps(to_plain(rollout), ensure_ascii=False, indent=2)


def to_csv(rollout: Rollout) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    table.writerows([_safe(cell) for cell in _row(branch)] for branch in branches_of(rollout))
    return out.getvalue()


def _row(branch: RolloutBranch) -> tuple[Any, ...]:
    session: Session | None = branch.session
    status = session.status if session is not None else ("failed" if branch.scored_at else "waiting")
    right = None if branch.score is None else branch.score >= RIGHT_FROM
    cost_usd = session.meter.cost_micro_usd / MICRO_USD if session is not None else 0.0
    scoring_usd = None if branch.scoring_micro_usd is None else branch.scoring_micro_usd / MICRO_USD
    answer = (session.answer or "") if session is not None else ""
    uuid = str(session.uuid) if session is not None else ""
    return (
        branch.step_number,
        branch.index,
        status,
        branch.score,
        right,
        answer,
        cost_usd,
        scoring_usd,
        branch.note,
        uuid,
    )


def _safe(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
