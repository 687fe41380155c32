"""Made-up trajectories: event logs of any size and of every shape that pages must show.

The shared fixtures under `fixtures/trajectories` come from here (`python -m tests.trajectories`), and so do the
sessions with which browser tests fill a database. Everything is seeded: the same call gives the same log.
"""

from __future__ import annotations

from pathlib import Path

from tests.trajectories.builder import Trajectory
from tests.trajectories.shapes import (
    chatty,
    compacted,
    failed,
    forked,
    hostile,
    limited,
    restarted_cell,
    snapshotted,
    stopped,
    tour,
    with_gaps,
)
from tests.trajectories.trees import grown

FOLDER = Path(__file__).parent.parent / "fixtures" / "trajectories"

__all__ = [
    "FOLDER",
    "Trajectory",
    "chatty",
    "compacted",
    "failed",
    "fixtures",
    "forked",
    "grown",
    "hostile",
    "limited",
    "restarted_cell",
    "snapshotted",
    "stopped",
    "tour",
    "with_gaps",
]


def fixtures() -> dict[str, Trajectory]:
    return {
        "tour": tour(),
        "restarted_cell": restarted_cell(),
        "limited": limited(),
        "stopped": stopped(),
        "failed": failed(),
        "forked": forked(),
        "snapshotted": snapshotted(),
        "with_gaps": with_gaps(),
        "compacted": compacted(),
        "hostile": hostile(),
        "chatty": chatty(),
        "grown": grown(60, leaves=3),
    }
