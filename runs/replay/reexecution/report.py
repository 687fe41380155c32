"""What a re-execution found. Plain data: it is the result of the job, and what pages and the API show."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SHOWN_CHARS = 2_000
MAX_DIFFERENCES = 20
MAX_STEPS = 2_000


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was not the same. `what`: stdout, stderr, error, sub-calls, variable, answer."""

    what: str
    cell: int = 0
    name: str = ""
    recorded: str = ""
    now: str = ""


class StepReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """`compared_variables` is False where the recorded step has no usable snapshot."""

    node: int
    step: int
    findings: list[Finding] = []
    cause: str = ""
    compared_variables: bool = True
    duration_ms: float = 0.0

    @property
    def identical(self) -> bool:
        return not self.findings


class Report(msgspec.Struct, omit_defaults=True):
    """verdict: `identical`, `diverged`, or `incomplete` (a node could not be executed; `problems` says why)."""

    steps: list[StepReport] = []
    problems: list[str] = []
    addresses: bool = False
    """Some output differed in memory addresses only, which counts as the same."""

    @property
    def first(self) -> StepReport | None:
        return next((step for step in self.steps if not step.identical), None)

    @property
    def verdict(self) -> Literal["identical", "diverged", "incomplete"]:
        if self.first is not None:
            return "diverged"
        return "incomplete" if self.problems else "identical"


def report_to_plain(report: Report) -> dict[str, Any]:
    plain = msgspec.to_builtins(report)
    assert isinstance(plain, dict)
    first = report.first
    return {
        **plain,
        "verdict": report.verdict,
        "first": {"node": first.node, "step": first.step, "cause": first.cause} if first is not None else None,
        "steps_executed": len(report.steps),
        "steps_identical": sum(step.identical for step in report.steps),
    }


def report_from_plain(plain: dict[str, Any]) -> Report:
    return msgspec.convert(plain, Report)


def shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… [{len(text):,} characters]"
