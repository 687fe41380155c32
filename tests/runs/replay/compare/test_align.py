"""Aligning made-up logs: nodes by place, steps by number, the first difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runs.events.fold import fold_line
from runs.events.tree import Tree
from runs.replay.compare.align import align
from runs.replay.compare.texts import diff
from tests.trajectories import fixtures, tour


def tree_of(lines: list[str]) -> Tree:
    tree = Tree()
    for line in lines:
        fold_line(tree, line)
    return tree


def changed(kind: str, number: int, **fields: Any) -> Tree:
    """The tour with the `number`th event of `kind` changed."""
    lines, left = [], number
    for line in tour().lines():
        event = json.loads(line)
        if event["type"] == kind:
            left -= 1
            if left == 0:
                event.update(fields)
        lines.append(json.dumps(event))
    assert left <= 0
    return tree_of(lines)


@pytest.mark.parametrize("name", sorted(fixtures()))
def test_every_log_is_the_same_as_itself(name: str) -> None:
    lines = list(fixtures()[name].lines())
    found = align(tree_of(lines), tree_of(lines))
    assert found.divergence is None
    assert all(pair.equal for pair in found.nodes)


@pytest.mark.parametrize(
    ("kind", "number", "fields", "aspect"),
    [
        ("lm.finished", 1, {"reply": "something else"}, "reply"),
        ("cell.started", 1, {"code": "print(1)"}, "code"),
        ("cell.output", 1, {"text": "another output"}, "output"),
    ],
)
def test_one_change_is_found_with_its_step_and_what_differs(
    kind: str, number: int, fields: dict[str, Any], aspect: str
) -> None:
    found = align(tree_of(list(tour().lines())), changed(kind, number, **fields))
    assert found.divergence is not None
    assert found.divergence.step.different == (aspect,)
    assert found.divergence.step.number == 1


def test_a_log_that_ends_earlier_parts_where_it_ends() -> None:
    lines = list(tour().lines())
    second = next(n for n, line in enumerate(lines) if '"type":"step.started"' in line and '"step":2' in line)
    found = align(tree_of(lines), tree_of(lines[:second]))
    assert found.divergence is not None
    assert found.divergence.step.number == 2
    assert found.divergence.step.b is None


def test_a_diff_shows_what_changed_and_says_what_it_leaves_out() -> None:
    one = "\n".join(f"line {n}" for n in range(5000))
    other = one.replace("line 40\n", "line forty\n")
    lines = diff(one, other)
    assert [line.text for line in lines if line.mark in "-+"] == ["line 40", "line forty"]
    assert lines[0].mark == "…"
    assert "not compared" in lines[-1].text
    assert diff("same", "same") == []
