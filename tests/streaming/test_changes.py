"""What the pages know of variables from the snapshots of the log: where one changed, and what a step did."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.events.types import NodeFinished, SnapshotFailed, SnapshotTaken, StepFinished, VariableInfo
from tests.streaming.conftest import RunModule
from tests.trajectories import Trajectory

READ = """
import { readFileSync } from "node:fs";
import { changedNames, changesAfter, changesOf } from "./js/live/changes.js";
import { EventLog } from "./js/live/log.js";
const events = readFileSync(process.argv[2], "utf8").trim().split("\\n").map((line) => JSON.parse(line));
const log = new EventLog();
log.add(events);
const tree = log.live;
const after = (node, step) => {
  const shown = tree.nodes.get(node).steps.find((each) => each.step === step);
  const changes = shown.cells.map((cell) => changesAfter(tree.nodes.get(node), shown, cell));
  return changes.map((each) => each && Object.fromEntries(each));
};
"""


def one_step(
    log: Trajectory, node: int, step: int, names: list[str], changed: list[str] | None, cells: int = 1
) -> None:
    log.step(node, step, "```repl\nx = 1\n```")
    for cell in range(1, cells + 1):
        log.cell(node, step, cell, "x = 1", variables=[VariableInfo(name, "int") for name in names])
    if changed is not None:
        log.add(SnapshotTaken(node=node, step=step, snapshot=f"s{step}", holds=["variables"], changed=changed))
    log.add(StepFinished(node=node, step=step, status="finished"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    log = Trajectory()
    root = log.begin("What changed?")
    one_step(log, root, 1, ["a"], ["a"])
    one_step(log, root, 2, ["a", "b"], ["b", "a"], cells=2)
    log.step(root, 3, "Let me think.")
    log.add(SnapshotTaken(node=root, step=3, snapshot="s3", holds=["variables"]))
    one_step(log, root, 4, ["b", "c"], ["-a", "b", "c"])
    one_step(log, root, 5, ["b"], None)
    log.add(SnapshotFailed(node=root, step=5, reason="no room"))
    child = log.node("Look", parent=root, depth=1, step=5, cell=1, subcall="c1")
    one_step(log, child, 1, ["b"], ["b"])
    log.add(NodeFinished(node=child, status="finished"))
    log.finish(answer="done")
    path: Path = tmp_path_factory.mktemp("changes") / "log.jsonl"
    path.write_text("".join(f"{line}\n" for line in log.lines()))
    return str(path)


def test_the_changes_of_a_variable_are_found_in_order(run_module: RunModule, path: str) -> None:
    source = """
    const places = (found) => found.map(({ node, step, deleted }) => [node, step, deleted]);
    const seqs = changesOf(tree, "b").map(({ seq }) => events[seq - 1].type);
    console.log(JSON.stringify({
      a: places(changesOf(tree, "a")), b: places(changesOf(tree, "b")), child: places(changesOf(tree, "b", 1)),
      none: changesOf(tree, "constructor"), names: changedNames(tree), seqs,
    }));
    """
    found = run_module(READ + source, path)
    assert found["a"] == [[0, 1, False], [0, 2, False], [0, 4, True]]
    assert found["b"] == [[0, 2, False], [0, 4, False], [1, 1, False]]
    assert found["child"] == [[1, 1, False]]
    assert found["none"] == []
    assert found["names"] == ["a", "b", "c"]
    assert set(found["seqs"]) == {"snapshot.taken"}


def test_the_last_cell_of_a_step_says_what_the_step_did(run_module: RunModule, path: str) -> None:
    found = run_module(READ + "console.log(JSON.stringify([1, 2, 4, 5].map((step) => after(0, step))));", path)
    assert found == [
        [{"a": "added"}],
        [None, {"b": "added", "a": "changed"}],
        [{"a": "deleted", "b": "changed", "c": "added"}],
        [None],
    ]
