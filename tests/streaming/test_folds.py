"""The two folds give the same state, and a state that is kept does not change when a newer one is built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runs.events.fold import fold_line
from runs.events.tree import Tree, to_plain
from runs.events.types import AnyEvent
from tests import trajectories
from tests.streaming.conftest import RunModule

FIXTURES = sorted(trajectories.FOLDER.glob("*.jsonl"))

FOLD_FILES = """
import { readFileSync } from "node:fs";
import { fold } from "./js/live/fold.js";
import { newTree, toPlain } from "./js/live/state.js";
const states = process.argv.slice(2).map((path) => {
  const tree = newTree();
  for (const line of readFileSync(path, "utf8").trim().split("\\n")) fold(tree, JSON.parse(line));
  return toPlain(tree);
});
console.log(JSON.stringify(states));
"""

FORK_EVERYWHERE = """
import { readFileSync } from "node:fs";
import { fold } from "./js/live/fold.js";
import { fork, newTree, toPlain } from "./js/live/state.js";
const events = readFileSync(process.argv[2], "utf8").trim().split("\\n").map((line) => JSON.parse(line));
const kept = [];
const tree = newTree();
events.forEach((event, n) => {
  fold(tree, event);
  if (n % 7 === 0) kept.push([n, fork(tree), JSON.stringify(toPlain(tree))]);
});
const changed = kept.filter(([, state, then]) => JSON.stringify(toPlain(state)) !== then).map(([n]) => n);
const end = JSON.stringify(toPlain(tree));
const differ = kept.filter(([n, state]) => {
  for (const event of events.slice(n + 1)) fold(state, event);
  return JSON.stringify(toPlain(state)) !== end;
}).map(([n]) => n);
console.log(JSON.stringify({ kept: kept.length, changed, differ, same: JSON.stringify(toPlain(tree)) === end }));
"""


def folded(path: Path) -> Tree:
    tree = Tree()
    for line in path.read_text().splitlines():
        fold_line(tree, line)
    return tree


@pytest.fixture(scope="module")
def states_of_javascript(run_module: RunModule) -> dict[str, Any]:
    return dict(zip((path.stem for path in FIXTURES), run_module(FOLD_FILES, *map(str, FIXTURES)), strict=True))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_both_folds_give_the_same_state(path: Path, states_of_javascript: dict[str, Any]) -> None:
    plain = json.loads(msgspec.json.encode(to_plain(folded(path))))
    assert states_of_javascript[path.stem] == plain


def test_the_fixtures_are_those_that_the_generator_makes() -> None:
    made = {name: "".join(line + "\n" for line in log.lines()) for name, log in trajectories.fixtures().items()}
    assert {path.stem: path.read_text() for path in FIXTURES} == made


def test_the_fixtures_hold_every_event_type() -> None:
    held = {json.loads(line)["type"] for path in FIXTURES for line in path.read_text().splitlines()}
    known = {event.__struct_config__.tag for event in AnyEvent.__args__}
    assert held == known


@pytest.mark.parametrize("name", ["tour", "restarted_cell", "stopped", "chatty", "grown"])
def test_a_kept_state_stays_as_it_was_and_can_be_folded_on(name: str, run_module: RunModule) -> None:
    path = trajectories.FOLDER / f"{name}.jsonl"
    found = run_module(FORK_EVERYWHERE, str(path))
    assert found["kept"] > 2
    assert found["changed"] == []
    assert found["differ"] == []


def test_the_javascript_fold_refuses_an_unknown_type(run_module: RunModule) -> None:
    source = """
    import { UnknownEvent, fold } from "./js/live/fold.js";
    import { newTree } from "./js/live/state.js";
    let refused = false;
    try {
      fold(newTree(), { seq: 1, at: 2, type: "moon.landed" });
    } catch (error) {
      refused = error instanceof UnknownEvent;
    }
    console.log(JSON.stringify(refused));
    """
    assert run_module(source) is True


def test_the_python_fold_refuses_an_unknown_type() -> None:
    with pytest.raises(msgspec.ValidationError):
        fold_line(Tree(), '{"seq":1,"at":2,"type":"moon.landed"}')


def test_a_session_of_the_tour_tells_what_it_cost_and_where_it_failed() -> None:
    tree = folded(trajectories.FOLDER / "tour.jsonl")
    assert tree.status == "finished"
    assert tree.answer == "configparser.RawConfigParser: 12, email.parser.Parser: 4"
    assert (tree.used.nodes, tree.used.lm_calls, tree.used.errors) == (2, 7, 1)
    root, child = tree.nodes[0], tree.nodes[1]
    assert (root.own.errors, root.subtree.errors, child.own.errors) == (0, 1, 1)
    assert root.subtree.cost_micro_usd == tree.used.cost_micro_usd == 5 * 420 + 2 * 110
    assert root.steps[2].cells[0].subcalls[0].children == [1]


def test_a_cell_that_runs_again_shows_its_second_run_and_keeps_its_calls() -> None:
    cell = folded(trajectories.FOLDER / "restarted_cell.jsonl").nodes[0].steps[0].cells[0]
    assert cell.attempt == 2
    assert [(chunk.stream, chunk.text, chunk.late) for chunk in cell.output] == [
        ("stdout", "1\n", False),
        ("stderr", "warning: again\n", False),
        ("stdout", "left running\n", True),
    ]
    assert [call.reply for call in cell.subcalls[0].calls] == ["1"]


def test_what_runs_when_its_node_ends_is_not_shown_as_running() -> None:
    tree = folded(trajectories.FOLDER / "limited.jsonl")
    cell = tree.nodes[0].steps[0].cells[0]
    assert cell.status == cell.subcalls[0].status == "stopped"
    assert [call.status for call in cell.subcalls[0].calls] == ["finished", "failed", "abandoned"]
    assert tree.limits_hit[0].limit == tree.nodes[0].limit == "max_cost_usd"


def test_events_about_unknown_nodes_make_placeholders() -> None:
    tree = folded(trajectories.FOLDER / "with_gaps.jsonl")
    assert tree.roots == [7, 9]
    assert tree.nodes[7].children == [8]
    assert [note.level for note in tree.notes] == ["gap", "error", "error", "gap"]
    assert tree.used.lm_calls == 1


def test_a_long_output_keeps_its_ends() -> None:
    cell = folded(trajectories.FOLDER / "chatty.jsonl").nodes[0].steps[0].cells[0]
    assert cell.omitted_chunks == 1500 - len(cell.output)
    assert (cell.output[0].text, cell.output[-1].text) == ("line 0\n", "line 1499\n")
