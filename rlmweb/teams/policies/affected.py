"""What a change of policy would refuse from now on, counted by those who know the acts.

The rooms above register a counter when Django starts (`AppConfig.ready`); this one knows neither sessions nor shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlmweb.teams.models import Organisation
from rlmweb.teams.policies.current import Policy

Counter = Callable[[Organisation, Policy], int]
_counters: dict[str, tuple[str, Counter]] = {}


@dataclass(frozen=True, slots=True)
class Affected:
    """`1 running session`, `3 running sessions`."""

    count: int
    words: str

    def __str__(self) -> str:
        return f"{self.count} {self.words}"


def count_with(one: str, many: str, counter: Counter) -> None:
    """Register `counter`: how many `many` of the organisation would be refused under a policy."""
    _counters[one] = (many, counter)


def affected_by(organisation: Organisation, policy: Policy) -> list[Affected]:
    """Without those of which there are none."""
    counted = [(one, many, counter(organisation, policy)) for one, (many, counter) in _counters.items()]
    return [Affected(count, one if count == 1 else many) for one, many, count in counted if count]
