"""One variable over all steps of a node: from manifests alone, no sandbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runs.replay.inspect.variables import states_by_name
from sandboxes.manifest import Manifest, VariableState


@dataclass(frozen=True, slots=True)
class Point:
    """The variable at the end of one step.

    state: `absent`, `added`, `changed`, `same`, `deleted`, `not held` (its content is not in the snapshot, so nobody
    knows whether it changed), `unsure` (the step before does not hold it), `unreadable` (the snapshot of this step
    cannot be read; `problem` says why).
    """

    step: int
    state: str
    type: str = ""
    size: str = ""
    preview: str = ""
    size_bytes: int = 0
    problem: str = ""


def timeline(name: str, steps: Iterable[tuple[int, Manifest | Exception]]) -> list[Point]:
    """`steps`: step numbers in order, each with its manifest or with the error that reading it raised."""
    points: list[Point] = []
    before: VariableState | None = None
    for step, manifest in steps:
        if isinstance(manifest, Exception):
            points.append(Point(step, "unreadable", problem=str(manifest)))
            continue
        now = states_by_name(manifest).get(name)
        points.append(_point(step, now, before))
        before = now
    return points


def _point(step: int, now: VariableState | None, before: VariableState | None) -> Point:
    if now is None:
        return Point(step, "deleted" if before is not None else "absent")
    if not now.digest:
        state = "not held"
    elif before is None:
        state = "added"
    elif not before.digest:
        state = "unsure"
    else:
        state = "same" if now.digest == before.digest else "changed"
    return Point(step, state, now.type, now.size, now.preview, now.size_bytes)
