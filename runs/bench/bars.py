"""A target says what is promised; a bar says what was measured and whether the promise holds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bar before it is measured. Without a limit it is measured and shown, and met when it was measured.

    Ratios are value to reference, and the reference is measured in the same run: machines differ, ratios less so.
    """

    name: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None

    @property
    def goal(self) -> str:
        limits = [
            f"<= {self.at_most:g} {self.unit}" if self.at_most is not None else "",
            f">= {self.at_least:g} {self.unit}" if self.at_least is not None else "",
            f"<= {self.ratio_at_most:g} x reference" if self.ratio_at_most is not None else "",
        ]
        return " and ".join(limit.strip() for limit in limits if limit) or "measured"

    def measured(self, value: float, *, reference: float | None = None, n: int = 1, note: str = "") -> Bar:
        """`n` is the number of samples behind the value. What is no finite number was not measured."""
        if not math.isfinite(value) or (reference is not None and not math.isfinite(reference)):
            return self.not_measured(f"the measurement gave {value} (reference {reference})")
        ratio = value / reference if reference else None
        if self.ratio_at_most is not None and ratio is None:
            return self.not_measured("there is no reference that the value could be compared with")
        met = (
            (self.at_most is None or value <= self.at_most)
            and (self.at_least is None or value >= self.at_least)
            and (self.ratio_at_most is None or (ratio is not None and ratio <= self.ratio_at_most))
        )
        return Bar(self.name, value, self.unit, reference, ratio, self.goal, met, n, note)

    def not_measured(self, why: str) -> Bar:
        """A bar that could not be measured counts as not met, and says why."""
        return Bar(self.name, None, self.unit, None, None, self.goal, met=False, n=0, note=f"not measured: {why}")


@dataclass(frozen=True)
class Bar:
    """One line of the result. `value` is None where nothing could be measured; `note` then says why."""

    name: str
    value: float | None
    unit: str
    reference: float | None
    ratio: float | None
    goal: str
    met: bool
    n: int
    note: str = ""
