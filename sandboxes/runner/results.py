"""What the supervisor remembers of cells that are over, so that a request which comes twice has one effect."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REMEMBERED_RESULTS = 4
REMEMBERED_IDS = 4096
STATE_BYTES = 512 * 1024


class Results:
    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._results: list[dict[str, Any]] = []

    def note_started(self, id: str) -> None:
        self._seen[id] = None
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]

    def was_started(self, id: str) -> bool:
        return id in self._seen

    def add(self, frame: dict[str, Any]) -> None:
        self._results = [*self._results, frame][-REMEMBERED_RESULTS:]

    def find(self, id: str) -> dict[str, Any] | None:
        """The result of a cell, while it is kept."""
        return next((result for result in self._results if result["cell"] == id), None)

    def latest(self) -> list[dict[str, Any]]:
        """The latest results that fit in a `state` frame, newest last."""
        budget = STATE_BYTES
        kept: list[dict[str, Any]] = []
        for result in reversed(self._results):
            budget -= 4096 + sum(len(str(value)) for value in result.values())
            if kept and budget < 0:
                break
            kept.append(result)
        return kept[::-1]
