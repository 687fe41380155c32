"""What a re-execution found. Plain data: it is the result of the job, and what pages and the API show."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runs.text import scrub

SHOWN_CHARS = 2_000
MAX_FINDINGS = 20
"""Of one step."""
MAX_STEPS = 5_000
"""Steps that a report lists one by one; it counts all of them."""
DETAILED_STEPS = 25
"""Steps whose differences are kept with their texts. After the first one most others only follow from it."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was not the same. `what`: stdout, stderr, error, sub-calls, variable, file, answer; record, where the
    journal and the log of the step contradict each other."""

    what: str
    cell: int = 0
    name: str = ""
    recorded: str = ""
    now: str = ""
    changes: list[str] = []
    """Of a variable: what differs inside, one element a line, where both values could be looked at."""


class StepReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """`compared_variables` is False where the recorded step has no usable snapshot. `notes`: what differed and does not
    count."""

    node: int
    step: int
    findings: list[Finding] = []
    cause: str = ""
    compared_variables: bool = True
    duration_ms: float = 0.0
    notes: list[str] = []

    @property
    def identical(self) -> bool:
        return not self.findings


class Report(msgspec.Struct, omit_defaults=True):
    """verdict: `identical`, `diverged`, or `incomplete` (a node could not be executed; `problems` says why)."""

    steps: list[StepReport] = []
    problems: list[str] = []
    addresses: bool = False
    """Some output differed in memory addresses only, which counts as the same."""
    executed: int = 0
    diverged: int = 0
    nodes_done: list[int] = []
    """Nodes that need not be executed again when another worker goes on."""

    @property
    def first(self) -> StepReport | None:
        return next((step for step in self.steps if not step.identical), None)

    @property
    def identical(self) -> int:
        return self.executed - self.diverged

    @property
    def verdict(self) -> Literal["identical", "diverged", "incomplete"]:
        if self.diverged:
            return "diverged"
        return "incomplete" if self.problems else "identical"

    def add(self, steps: list[StepReport], order: dict[tuple[int, int], int]) -> None:
        """Take in steps of one node. `order` has when each step of the session began: the first that differs is the one
        that began first."""
        self.executed += len(steps)
        self.diverged += sum(not step.identical for step in steps)
        found = sorted([*self.steps, *steps], key=lambda step: order.get((step.node, step.step), len(order)))
        if len(found) > MAX_STEPS:
            different = [step for step in found if not step.identical][:MAX_STEPS]
            same = [step for step in found if step.identical][: MAX_STEPS - len(different)]
            found = sorted([*different, *same], key=lambda step: order.get((step.node, step.step), len(order)))
        detailed = 0
        for place, step in enumerate(found):
            detailed += not step.identical
            if detailed > DETAILED_STEPS and any(each.recorded or each.now for each in step.findings):
                found[place] = without_texts(step)
        self.steps = found


def without_texts(step: StepReport) -> StepReport:
    short = [Finding(each.what, each.cell, each.name) for each in step.findings]
    return msgspec.structs.replace(step, findings=short)


def report_to_plain(report: Report) -> dict[str, Any]:
    plain = _scrubbed(msgspec.to_builtins(report))
    assert isinstance(plain, dict)
    first = report.first
    return {
        "steps": [],
        **plain,
        "verdict": report.verdict,
        "first": _first(first) if first is not None else None,
        "steps_executed": report.executed,
        "steps_identical": report.identical,
    }


def _scrubbed(plain: Any) -> Any:
    """Values of sandboxes hold what the database does not: NUL, halves of surrogate pairs."""
    if isinstance(plain, dict):
        return {name: _scrubbed(value) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_scrubbed(value) for value in plain]
    return scrub(plain) if isinstance(plain, str) else plain


def _first(step: StepReport) -> dict[str, Any]:
    finding = step.findings[0]
    first = {"node": step.node, "step": step.step, "cell": finding.cell}
    return {**first, "what": finding.what, "name": scrub(finding.name), "cause": scrub(step.cause)}


def report_from_plain(plain: dict[str, Any]) -> Report:
    return msgspec.convert(plain, Report)


def shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… [{len(text):,} characters]"


def shown_pair(was: str, now: str) -> tuple[str, str]:
    """Both as they are shown: of long texts, the part in which they begin to differ."""
    if len(was) <= SHOWN_CHARS and len(now) <= SHOWN_CHARS:
        return was, now
    start = max(0, _same_start(was, now) - SHOWN_CHARS // 4)
    return _part(was, start), _part(now, start)


def _same_start(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _part(text: str, start: int) -> str:
    before = f"[{start:,} equal characters]\n" if start else ""
    return before + shown(text[start:])
