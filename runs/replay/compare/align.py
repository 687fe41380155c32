"""Aligning two sessions: nodes by their place in the tree, steps by their number, and where the two first part.

The comparison is of what was recorded: prompts, replies, code, output, sub-calls, answers. Variables are compared where
both steps have a snapshot (`runs.replay.compare.state`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.events.tree import Call, Cell, Node, Step, Tree
from runs.events.types import Text
from runs.replay.compare.texts import same

Place = tuple[tuple[int, int, str, int], ...]
"""Where a node is: for each level below the root its parent's step and cell, the sub-call, and the place in the batch."""
ASPECTS = ("prompt", "reply", "code", "output", "error", "sub-calls")


@dataclass(frozen=True, slots=True)
class StepPair:
    """One step of a node in both sessions; None where one has no such step. `different`: names of `ASPECTS`."""

    number: int
    a: Step | None
    b: Step | None
    different: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return self.a is not None and self.b is not None and not self.different


@dataclass(slots=True)
class NodePair:
    place: Place
    a: Node | None
    b: Node | None
    steps: list[StepPair] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return self.a is not None and self.b is not None and all(step.equal for step in self.steps)

    @property
    def first_difference(self) -> StepPair | None:
        return next((step for step in self.steps if not step.equal), None)


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first step, in the order of the first session, in which the two are not the same."""

    node: NodePair
    step: StepPair


@dataclass(slots=True)
class Alignment:
    nodes: list[NodePair]
    divergence: Divergence | None

    def find(self, a_node: int | None, b_node: int | None) -> NodePair | None:
        for pair in self.nodes:
            if pair.a is not None and pair.a.node == a_node:
                return pair
            if pair.a is None and pair.b is not None and pair.b.node == b_node:
                return pair
        return None


def align(a: Tree, b: Tree) -> Alignment:
    left, right = dict(_places(a)), dict(_places(b))
    order = [*left, *(place for place in right if place not in left)]
    pairs = [_node_pair(place, left.get(place), right.get(place)) for place in order]
    return Alignment(pairs, _divergence(pairs))


def _places(tree: Tree) -> Iterator[tuple[Place, Node]]:
    """Nodes by their places, parents before children."""
    places: dict[int, Place] = {}
    for number, node in tree.nodes.items():
        if node.parent is None:
            place: Place = ()
        elif node.parent in places:
            place = (*places[node.parent], (node.step, node.cell, node.subcall, node.index))
        else:
            continue  # its parent is missing from the log
        places[number] = place
        yield place, node


def _node_pair(place: Place, a: Node | None, b: Node | None) -> NodePair:
    left = {step.step: step for step in a.steps} if a is not None else {}
    right = {step.step: step for step in b.steps} if b is not None else {}
    pair = NodePair(place, a, b)
    pair.steps = [_step_pair(number, left.get(number), right.get(number)) for number in sorted({*left, *right})]
    return pair


def _step_pair(number: int, a: Step | None, b: Step | None) -> StepPair:
    if a is None or b is None:
        return StepPair(number, a, b, ())
    found = (
        ("prompt", not _same_messages(a, b)),
        ("reply", not same(reply_of(a), reply_of(b))),
        ("code", not _same_texts([cell.code for cell in a.cells], [cell.code for cell in b.cells])),
        ("output", not _same_texts(_output(a), _output(b))),
        ("error", [_error(cell) for cell in a.cells] != [_error(cell) for cell in b.cells]),
        ("sub-calls", not _same_subcalls(a, b)),
    )
    return StepPair(number, a, b, tuple(name for name, differs in found if differs))


def reply_of(step: Step) -> Text | None:
    """What the model said in the step's turn."""
    turn = next((call for call in reversed(step.calls) if call.kind in ("turn", "final")), None)
    return turn.reply if turn is not None else None


def _same_messages(a: Step, b: Step) -> bool:
    left = [(message.role, message.content) for message in a.messages]
    right = [(message.role, message.content) for message in b.messages]
    return len(left) == len(right) and all(
        one[0] == other[0] and same(one[1], other[1]) for one, other in zip(left, right, strict=True)
    )


def _same_texts(left: list[Text], right: list[Text]) -> bool:
    return len(left) == len(right) and all(same(one, other) for one, other in zip(left, right, strict=True))


def _output(step: Step) -> list[Text]:
    """Output per cell and stream; how it came in pieces does not count."""
    found: list[Text] = []
    for cell in step.cells:
        for stream in ("stdout", "stderr"):
            chunks = [chunk.text for chunk in cell.output if chunk.stream == stream and not chunk.late]
            if all(isinstance(chunk, str) for chunk in chunks):
                found.append("".join(str(chunk) for chunk in chunks))
            else:
                found += chunks
    return found


def _error(cell: Cell) -> tuple[str, str]:
    return (cell.error.type, cell.error.message) if cell.error is not None else (cell.status, "")


def _same_subcalls(a: Step, b: Step) -> bool:
    left, right = [_calls(cell) for cell in a.cells], [_calls(cell) for cell in b.cells]
    return left == right


def _calls(cell: Cell) -> list[tuple[str, str, int, tuple[object, ...]]]:
    return [(each.subcall, each.kind, each.count, tuple(_asked(call) for call in each.calls)) for each in cell.subcalls]


def _asked(call: Call) -> object:
    prompt = call.prompt
    return getattr(prompt, "sha256", prompt)


def _divergence(pairs: list[NodePair]) -> Divergence | None:
    """Of the steps that differ, the one that began first: what differs later may follow from it."""
    found: Divergence | None = None
    for pair in pairs:
        step = pair.first_difference
        if step is None:
            continue
        if found is None or _begun(step) < _begun(found.step):
            found = Divergence(pair, step)
    return found


def _begun(step: StepPair) -> int:
    return min(each.seq for each in (step.a, step.b) if each is not None)
