"""Chunks as rows of numbers, and a small network in the first line that scores them: work for a GPU, where there is one.

All numbers are whole and small, so that 32-bit floats hold every score exactly, on any processor and in any order of
adding: 64 features of 0 to 9, weights of -4 to 4, and a score below 2 to the power of 24.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from runs.examples.answers import NameAnswer
from runs.examples.generated.writing import Question, write_records
from runs.examples.types import Example, Order, Task

FEATURES, HIDDEN = 64, 32
_SIZE_BYTES = 500_000
_RUNNERS_UP = 20


def weights() -> tuple[list[list[int]], list[int]]:
    """The network's: `hidden = relu(features @ first)`, `score = hidden @ second`. Always the same."""
    rng = random.Random("a small network")
    first = [[rng.randrange(-4, 5) for _ in range(HIDDEN)] for _ in range(FEATURES)]
    return first, [rng.randrange(-4, 5) for _ in range(HIDDEN)]


class Chunks:
    """Rows, and the best of them so far."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(f"chunks {seed}")
        first, self._second = weights()
        self._columns = list(zip(*first, strict=True))
        self.count = 0
        self.best: list[tuple[int, str]] = []
        """Score and name, the highest first."""

    def lines(self) -> Iterator[str]:
        while True:
            features = [self._rng.randrange(10) for _ in range(FEATURES)]
            name = f"chunk-{self.count:06}"
            self.count += 1
            self.best = sorted([*self.best, (self._score(features), name)], key=lambda each: -each[0])[:_RUNNERS_UP]
            yield f"{name}\t{' '.join(map(str, features))}\n"

    def _score(self, features: list[int]) -> int:
        hidden = (max(0, sum(map(int.__mul__, features, column))) for column in self._columns)
        return sum(map(int.__mul__, hidden, self._second))


def highest(chunks: Chunks, rng: random.Random) -> Question | None:
    (score, name), (second_score, _) = chunks.best[:2]
    if score == second_score:
        return None
    question = (
        "The first line holds a small network as JSON: hidden = relu(features @ first), score = hidden @ second. Each "
        "other line is a chunk: its name, a tab, its features. Which chunk has the highest score? Score them with torch "
        "on the GPU when the sandbox has one, else on the CPU, and say which it was. Answer with the name only."
    )
    return question, NameAnswer(name, tuple(other for _, other in chunks.best[1:]))


def build(order: Order) -> Task:
    first, second = weights()
    header = json.dumps({"first": first, "second": second}) + "\n"
    (question, expected), chunks = write_records(order, order.size_bytes or _SIZE_BYTES, Chunks, highest, header)
    return Task(question, expected, f"{chunks.count:,} chunks of {FEATURES} features, and a network that scores them.")


EXAMPLE = Example(
    slug="scores",
    title="Score chunks with a network",
    summary="Made-up chunks as rows of numbers and a small network that scores them. Uses a GPU where there is one.",
    question="Which chunk does the network score highest?",
    question_kinds=("highest",),
    builder=build,
    size_bytes_hint=_SIZE_BYTES,
    min_size_bytes=20_000,
    max_size_bytes=20_000_000,
)
