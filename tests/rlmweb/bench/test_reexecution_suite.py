"""The suite of re-executions: what it makes, and that it can fail."""

from __future__ import annotations

import ast

import pytest

from rlmweb.bench.planted_changes import ANY, PLANTS
from rlmweb.bench.recorded_sessions import CELLS, sketch
from rlmweb.bench.suites.reexecution import Recorded, fault, planted


def test_sketches_follow_from_their_seed_and_are_python() -> None:
    for seed in range(50):
        made = sketch(seed)
        assert made == sketch(seed)
        assert 3 <= len(made.cells) <= 6
        for cell in made.cells:
            ast.parse(cell)
    assert len({tuple(sketch(seed).cells) for seed in range(50)}) > 45


@pytest.mark.parametrize("kind", CELLS)
def test_a_needed_kind_is_there_once(kind: str) -> None:
    for seed in range(20):
        assert sketch(seed, kind).kinds.count(kind) == 1


def test_every_kind_of_change_is_planted_where_it_fits() -> None:
    assert {plant.cell for plant in PLANTS} <= {ANY, "opening", "answer", *CELLS}
    for number in range(2 * len(PLANTS)):
        each = planted(number)
        assert each.plant is not None
        assert each.plant.cell in (ANY, each.made.kinds[each.step - 1])
        assert bool(each.plant.code) != (each.plant.record is not None)
        assert each.plant.code in each.made.cells[each.step - 1]


def test_a_wrong_result_is_a_fault() -> None:
    plain, changed = Recorded(sketch(1)), planted(0)
    steps = [{"step": number} for number in range(1, len(plain.made.cells) + 1)]
    right = {"verdict": "identical", "first": None, "steps": steps, "steps_executed": len(steps)}
    plain.result = right
    assert fault(plain) == ""
    for wrong in (
        {"verdict": "diverged", "first": {"node": 0, "step": 1}},
        {"verdict": "incomplete", "problems": ["node 0: lost"]},
        {"steps": [{"step": 1, "compared_variables": False}]},
        {"steps_executed": 1},
    ):
        plain.result = {**right, **wrong}
        assert fault(plain)
    plain.result = {}
    assert fault(plain)
    place = {"node": 0, "step": changed.step, "cause": "time"}
    changed.result = {"verdict": "diverged", "first": place}
    assert fault(changed) == ""
    for elsewhere in ({**place, "step": changed.step + 1}, {**place, "node": 1}, None):
        changed.result = {"verdict": "diverged", "first": elsewhere}
        assert fault(changed)
