"""Where executing a node again can begin: its own beginning, a snapshot, and the points at which it was forked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runs.engine.state import step_state
from runs.models import Node, Session, Step
from runs.replay.origin import origin_of
from runs.services.config import config_from_plain
from runs.services.snapshots.reading import SnapshotMissing, manifest_of, snapshot_of
from runs.services.snapshots.restoring import ForkChangeFailed
from runs.services.snapshots.scratch import ScratchBox, open_fresh, open_scratch
from sandboxes.models import Snapshot

MAX_ANCESTORS = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """`clock`: Unix time at which the clocks start; `seed`: of everything drawn by chance. None: as they come."""

    clock: float | None = None
    seed: int | None = None

    def over(self, own: Options) -> Options:
        """What holds where `own` is what the steps ran with: their clock, and the seed that was asked for."""
        clock = self.clock if own.clock is None else own.clock
        return Options(clock, own.seed if self.seed is None else self.seed)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps after `after` up to `upto`, in one sandbox. `code` sets the variables that a fork changed there."""

    after: int
    upto: int | None
    code: str = ""

    def holds(self, step: int) -> bool:
        return step > self.after and (self.upto is None or step <= self.upto)


def own_options(node: Node, step: int) -> Options:
    """What the step ran with: the configuration of the session that did it, of which this one may be a fork."""
    determinism = config_from_plain(_doer(node, step).config).determinism
    return Options(determinism.clock, determinism.seed)


def _doer(node: Node, step: int) -> Session:
    session = node.session
    for _ in range(MAX_ANCESTORS):
        origin = origin_of(session.origin)
        step = _step_of_root(node, step)
        if origin is None or origin.kind == "import" or step > origin.step or session.forked_from is None:
            break
        source = Node.objects.filter(session=session.forked_from, number=origin.node).first()
        if source is None:
            break
        session, node = session.forked_from, source
    return session


def _step_of_root(node: Node, step: int) -> int:
    """The step of the root within which `step` of `node` was done."""
    while (opened := node.parent_step) is not None and node.parent is not None:
        node, step = node.parent, opened.number
    return step


def stretches(node: Node, after: int, upto: int | None, ended: Iterable[int] = ()) -> list[Stretch]:
    """A node goes on from a snapshot where it was forked: so it does again, and behind the steps in `ended`."""
    points = {**dict.fromkeys(ended, ""), **fork_points(node)}
    inside = [point for point in sorted(points) if point > after and (upto is None or point < upto)]
    begins = [after, *inside]
    ends: list[int | None] = [*inside, upto]
    return [Stretch(begin, end, points.get(begin, "")) for begin, end in zip(begins, ends, strict=True)]


def fork_points(node: Node) -> dict[int, str]:
    """Steps after which the node was forked, by this session and those before it, with the code that was run there."""
    points: dict[int, str] = {}
    session: Session | None = node.session
    number, below = node.number, None
    for _ in range(MAX_ANCESTORS):
        origin = origin_of(session.origin) if session is not None else None
        if session is None or origin is None or number != 0:
            break
        if origin.kind == "import" and not origin.step:
            break  # one that was no fork where it came from
        if below is None or origin.step < below:
            root = Node.objects.filter(session=session, number=0).only("base_code").first()
            points[origin.step] = root.base_code if root is not None else ""
            below = origin.step
        session, number = session.forked_from, origin.node
    return points


@contextmanager
def open_start(node: Node, stretch: Stretch, options: Options) -> Iterator[tuple[ScratchBox, Snapshot | None]]:
    """A sandbox in the state in which the stretch begins, and the snapshot that it was restored from.

    Raises `SnapshotError` when there is no state to begin from, `SandboxError` when no sandbox can be had.
    """
    snapshot = snapshot_of(node.session, node.number, stretch.after) if stretch.after else None
    holds = options.over(own_options(node, stretch.after + 1))
    clock, seed = holds.clock, holds.seed
    if snapshot is None:
        if stretch.after and ran_code(node, stretch.after):
            raise SnapshotMissing(f"there is no snapshot of step {stretch.after}", "Begin at an earlier step.")
        with open_fresh(node, clock=clock, seed=seed) as box:
            yield box, None
        return
    manifest_of(snapshot)  # says what is wrong with it before a sandbox is started
    with open_scratch(snapshot, clock=clock, seed=seed) as box:
        if stretch.code:
            said = box.evaluate(stretch.code, timeout_s=60)
            if said.error is not None:
                raise ForkChangeFailed(f"the changed variables could not be set: {said.error.message}")
        yield box, snapshot


def ran_code(node: Node, upto: int) -> bool:
    """Did the node run a cell by the end of step `upto`, or is there no such step?"""
    states = Step.objects.filter(node=node, number__lte=upto).values_list("state", flat=True)
    found = [step_state(state) for state in states]
    return len(found) < upto or any(cell.status for state in found for cell in state.cells)
