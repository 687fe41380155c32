"""Two sessions side by side."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runs.access import session_for
from runs.models import Session
from runs.replay.compare.align import Alignment, NodePair, StepPair, align
from runs.replay.compare.sides import same_answer, settings_between, step_view, tree_of

PAGE_STEPS = 100
"""Steps of a node listed on one page."""


@never_cache
@login_required
@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """`a` and `b` name the sessions; `node`, `other` and `step` what is looked at; without them, where the two part."""
    a, b = (session_for(request.user, request.GET.get(name, "")) for name in ("a", "b"))
    left, right = tree_of(a), tree_of(b)
    found = align(left, right)
    node = _chosen_node(request, found)
    step = _chosen_step(request, found, node)
    place = node.steps.index(step) if node is not None and step is not None else 0
    first = place - place % PAGE_STEPS
    steps = node.steps if node is not None else []
    context = {
        "a": a,
        "b": b,
        "left": left,
        "right": right,
        "same_answer": same_answer(left, right),
        "settings": settings_between(a, b),
        "nodes": [pair for pair in found.nodes if not pair.equal or pair is node][:PAGE_STEPS],
        "equal_nodes": sum(pair.equal for pair in found.nodes),
        "divergence": found.divergence,
        "node": node,
        "step": step,
        "steps": steps[first : first + PAGE_STEPS],
        "earlier": steps[first - 1].number if first else None,
        "later": steps[first + PAGE_STEPS].number if first + PAGE_STEPS < len(steps) else None,
        "view": _view(a, b, node, step),
        "base": f"{reverse('runs:compare')}?a={a.uuid}&b={b.uuid}",
        "place": f"node={_number(node, 'a')}&other={_number(node, 'b')}" if node is not None else "",
    }
    return render(request, "runs/compare.html", context)


def _view(a: Session, b: Session, node: NodePair | None, step: StepPair | None) -> Any:
    if node is None or step is None:
        return None
    return step_view(
        step,
        (a, node.a.node if node.a is not None else None),
        (b, node.b.node if node.b is not None else None),
    )


def _chosen_node(request: HttpRequest, found: Alignment) -> NodePair | None:
    node, other = _whole(request.GET.get("node", "")), _whole(request.GET.get("other", ""))
    chosen = found.find(node, other) if node is not None or other is not None else None
    if chosen is None and found.divergence is not None:
        chosen = found.divergence.node
    return chosen or (found.nodes[0] if found.nodes else None)


def _chosen_step(request: HttpRequest, found: Alignment, node: NodePair | None) -> StepPair | None:
    if node is None or not node.steps:
        return None
    number = _whole(request.GET.get("step", ""))
    chosen = next((step for step in node.steps if step.number == number), None)
    return chosen or node.first_difference or node.steps[-1]


def _number(node: NodePair, side: str) -> str:
    found = node.a if side == "a" else node.b
    return str(found.node) if found is not None else ""


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
