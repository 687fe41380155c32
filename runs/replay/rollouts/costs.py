"""What a rollout costs: so far, and by an estimate from what its session cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Sum

from runs.models import LmCall, Node, Rollout, Session

MICRO_USD = 1_000_000


def spent_micro_usd(rollout: Rollout) -> int:
    """All branches and their scoring; calls without a known price count as nothing."""
    sums = rollout.branches.aggregate(branches=Sum("session__meter__cost_micro_usd"), scoring=Sum("scoring_micro_usd"))
    return (sums["branches"] or 0) + (sums["scoring"] or 0)


def left_micro_usd(rollout: Rollout) -> int | None:
    """What may still be spent; None without a limit."""
    if rollout.max_cost_usd is None:
        return None
    return max(0, round(rollout.max_cost_usd * MICRO_USD) - spent_micro_usd(rollout))


@dataclass(frozen=True, slots=True)
class Rest:
    """What the session spent after a step: what one branch from its end may be expected to cost."""

    micro_usd: int
    unpriced_calls: int


def rests_after(session: Session, node: int, steps: list[int]) -> dict[int, Rest]:
    """By step: what `node` and its subtree spent in later steps (0: in all of them)."""
    spent = _spent_by_step(session, node)
    rests = {}
    for step in steps:
        later = [found for number, found in spent.items() if number > step]
        rests[step] = Rest(sum(rest.micro_usd for rest in later), sum(rest.unpriced_calls for rest in later))
    return rests


def _spent_by_step(session: Session, node: int) -> dict[int, Rest]:
    """What belongs to each step of `node`, with the nodes that were opened in it."""
    step_of: dict[int, int] = {}
    """By node below: the step of `node` that it belongs to."""
    nodes = Node.objects.filter(session=session).order_by("number").values_list("pk", "number", "parent_id")
    parents = {pk: parent for pk, _, parent in nodes}
    top = next((pk for pk, number, _ in nodes if number == node), None)
    opened = dict(Node.objects.filter(session=session, parent_id=top).values_list("pk", "parent_step__number"))
    for pk, _, parent in nodes:  # a parent's number is lower than its child's
        if parent == top and pk in opened:
            step_of[pk] = opened[pk] or 0
        elif parents[pk] in step_of:
            step_of[pk] = step_of[parents[pk]]
    spent: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    calls = LmCall.objects.filter(session=session, status=LmCall.Status.FINISHED)
    for owner, number, micro_usd in calls.values_list("step__node_id", "step__number", "cost_micro_usd"):
        step = number if owner == top else step_of.get(owner)
        if step is not None:
            spent[step][0] += micro_usd or 0
            spent[step][1] += micro_usd is None
    return {step: Rest(*found) for step, found in spent.items()}
