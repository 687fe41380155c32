"""Trees of any size."""

from __future__ import annotations

import random
from collections.abc import Iterator

from runs.events.types import (
    CellOutput,
    CellStarted,
    ErrorInfo,
    MessageInfo,
    NodeFinished,
    StepFinished,
    SubcallClosed,
    SubcallOpened,
)
from tests.trajectories.builder import Trajectory
from tests.trajectories.shapes import TRACEBACK


def grown(nodes: int, *, seed: int = 7, leaves: int = 0, steps: int = 1, finished: bool = True) -> Trajectory:
    """A tree of `nodes` recursive nodes, the deepest at 8, each of some steps, with errors here and there."""
    rng = random.Random(seed)
    log = Trajectory()
    root = log.begin(f"Walk a tree of {nodes} nodes and report the longest path", limits={"max_nodes": nodes * 2})
    growing, depth_of, steps_of = [root], {root: 0}, {root: 0}
    while log.nodes < nodes:
        parent = growing[rng.randrange(len(growing))]
        width = min(rng.choice((1, 2, 3, 5, 8, 13)), nodes - log.nodes)
        steps_of[parent] += 1
        for child in _open_children(log, rng, parent, depth_of[parent] + 1, steps_of[parent], width):
            depth_of[child], steps_of[child] = depth_of[parent] + 1, steps
            for step in range(1, steps + 1):
                _work(log, rng, child, step, leaves)
            if depth_of[child] < 8:
                growing.append(child)
    if finished:
        for node in range(log.nodes - 1, 0, -1):
            log.add(NodeFinished(node=node, status="finished", answer=str(depth_of[node])))
        log.finish(answer="The longest path has 8 nodes.")
    return log


WORK = (
    "Read the section and list its claims",
    "Find the date of the incident",
    "Count the rows that match",
    "Compare both versions and name the first difference",
)


def _open_children(
    log: Trajectory, rng: random.Random, parent: int, depth: int, step: int, width: int
) -> Iterator[int]:
    code = f"replies = rlm_query_batched([task + part for part in parts[:{width}]])\nprint(len(replies))"
    log.step(parent, step, f"I divide the work among {width}.\n\n```repl\n{code}\n```")
    log.add(CellStarted(node=parent, step=step, cell=1, code=code))
    opened = SubcallOpened(node=parent, step=step, cell=1, subcall="c1", kind="rlm", count=width, batch=width > 1)
    log.add(opened)
    for index in range(width):
        yield log.node(
            f"{rng.choice(WORK)} ({index + 1} of {width})",
            parent=parent,
            depth=depth,
            step=step,
            cell=1,
            subcall="c1",
            index=index,
        )
    log.add(SubcallClosed(node=parent, step=step, cell=1, subcall="c1"))
    log.end_cell(parent, step, 1, f"{width}\n")
    log.add(StepFinished(node=parent, step=step, status="finished"))


def _work(log: Trajectory, rng: random.Random, node: int, step: int, leaves: int) -> None:
    log.step(node, step, "```repl\nprint(len(context))\n```", MessageInfo("user", rng.choice(WORK)))
    code = "print(len(context))"
    log.add(CellStarted(node=node, step=step, cell=1, code=code))
    log.add(CellOutput(node=node, step=step, cell=1, stream="stdout", text=f"{rng.randrange(10**6)}\n"))
    if leaves:
        log.leaves(node, step, 1, "c1", [f"part {n}" for n in range(leaves)], ["yes"] * leaves)
    if rng.random() < 0.03:
        error = ErrorInfo("IndexError", "list index out of range", detail=TRACEBACK)
        log.end_cell(node, step, 1, status="error", error=error)
    else:
        log.end_cell(node, step, 1)
    log.add(StepFinished(node=node, step=step, status="finished"))
