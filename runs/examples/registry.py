"""The catalogue of example tasks. A new one is a module with an `EXAMPLE` and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runs.examples.generated.logfile import EXAMPLE as LOGFILE
from runs.examples.generated.needle import EXAMPLE as NEEDLE
from runs.examples.generated.oolong import EXAMPLE as OOLONG
from runs.examples.generated.sales import EXAMPLE as SALES
from runs.examples.generated.scores import EXAMPLE as SCORES
from runs.examples.stdlib.example import EXAMPLE as STDLIB
from runs.examples.types import Built, Example, UnknownExample

_EXAMPLES = (STDLIB, LOGFILE, NEEDLE, OOLONG, SALES, SCORES)


@dataclass(frozen=True)
class Choice:
    """One example with everything chosen."""

    example: Example
    question_kind: str
    seed: int
    size_bytes: int | None = None

    def build(self, path: Path) -> Built:
        return self.example.build(path, seed=self.seed, size_bytes=self.size_bytes, question_kind=self.question_kind)


def all_examples() -> tuple[Example, ...]:
    return _EXAMPLES


def example(slug: str) -> Example:
    """Raises `UnknownExample`."""
    for known in _EXAMPLES:
        if known.slug == slug:
            return known
    raise UnknownExample(slug, tuple(known.slug for known in _EXAMPLES))


def first_session_example() -> Choice:
    """What a new installation starts with: real, 10 MB, and within reach of the small model that comes with it."""
    return Choice(STDLIB, "lines-containing", seed=1)
