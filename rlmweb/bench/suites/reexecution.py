"""Recorded sessions executed again: the same where nothing changed, and different at the right step where something did."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlmweb.bench.outside import Outside, wait_until
from rlmweb.bench.planted_changes import PLANTED, PLANTS, Place, Plant
from rlmweb.bench.recorded_sessions import CONTEXT, Sketch, sketch
from rlmweb.boot.stack import Stack
from runs.bench.bars import Target
from runs.bench.stats import p50
from runs.bench.suite import Bench, suite

REEXECUTION = suite("reexecution", "Recorded code again: identical where it must be, the first divergence where it is.")
IDENTICAL = "deterministic sessions not found identical"
REPEATABLE = "sessions with fixed clock and seed not found identical"
FOUND = "planted changes not found at their step"
ASKED = "model calls made by executing again"
STEP_TIME = "time of a step that is executed again p50"
SEED = 20261123
UNSTEADY = [plant for plant in PLANTS if plant.code and plant.name != "identity"]
SESSIONS_TIMEOUT_S = 600
OVER = {"finished", "failed", "stopped"}


@dataclass
class Recorded:
    """A session, what it was made from, and the step in which it must be found to differ, if something was planted.
    `config`: what is not as usual."""

    made: Sketch
    plant: Plant | None = None
    step: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    uuid: str = ""
    job: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def what(self) -> str:
        planted = f", {self.plant.name} planted in step {self.step}" if self.plant is not None else ""
        return f"session {self.uuid} of {', '.join(self.made.kinds)}{planted}"


class Client(Outside):
    """Starts sessions, plants changes, and executes again."""

    def context(self, name: str, text: str) -> str:
        return str(self.call("POST", "/contexts", {"name": name, "text": text})["uuid"])

    def record(self, sessions: list[Recorded], context: str) -> None:
        """Run the sessions to their ends and plant what belongs into their records."""
        for each in sessions:
            model = {"api": "scripted", "model": "scripted:inline", "extra": {"script": each.made.script()}}
            body = {"question": "?", "context": context, "config": {"root": model, **each.config}}
            each.uuid = str(self.call("POST", "/sessions", body)["uuid"])
        statuses = self.wait_for([each.uuid for each in sessions], SESSIONS_TIMEOUT_S)
        wrong = [uuid for uuid, status in statuses.items() if status != "finished"]
        if wrong:
            raise AssertionError(f"{len(wrong)} sessions did not finish, the first is {wrong[0]}")
        for each in sessions:
            if each.plant is not None and each.plant.record is not None:
                each.plant.record(Place(self, each.uuid, each.step))

    def execute_again(self, sessions: list[Recorded]) -> None:
        for each in sessions:
            each.job = str(self.call("POST", f"/sessions/{each.uuid}/reexecutions", {})["uuid"])
        wait_until("re-executions end", self._all_over([each.job for each in sessions]), SESSIONS_TIMEOUT_S)
        for each in sessions:
            each.result = self.call("GET", f"/reexecutions/{each.job}")["result"]

    def _all_over(self, jobs: list[str]) -> Any:
        sql = "SELECT count(*) FROM runs_job WHERE uuid::text = ANY(%s) AND status = ANY(%s)"
        return lambda: self.rows(sql, jobs, list(OVER)) == [(len(jobs),)]

    def calls(self) -> int:
        [(number,)] = self.rows("SELECT count(*) FROM runs_lmcall")
        return int(number)


@contextmanager
def installation() -> Iterator[Client]:
    with ExitStack() as exits:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="rlmweb-again-"))
        stack = exits.enter_context(Stack(Path(folder) / "stack"))
        yield Client(stack.address, stack.token, stack.database_url)


def planted(number: int) -> Recorded:
    """The session with the `number`th planted change."""
    plant = PLANTS[number % len(PLANTS)]
    made = sketch(SEED + 1000 + number, "" if plant.cell == "any" else plant.cell)
    step = plant.step(made, random.Random(SEED + number))
    plant.into_code(made, step)
    return Recorded(made, plant, step)


def repeating(number: int) -> Recorded:
    """A session of unsteady code whose clock and chance are fixed."""
    made, draw = sketch(SEED + 2000 + number, "answer"), random.Random(SEED + number)
    for plant in draw.sample(UNSTEADY, 2):
        plant.into_code(made, plant.step(made, draw))
    return Recorded(made, config={"determinism": {"clock": 1_700_000_000.0 + number, "seed": number}})


def fault(each: Recorded) -> str:
    """Why the result is not the right one; empty when it is."""
    result, first = each.result, each.result.get("first")
    if each.plant is not None:
        place = (first["node"], first["step"]) if first else None
        return "" if place == (0, each.step) else f"found {result.get('verdict')} at {place}: {first}"
    if result.get("verdict") != "identical":
        return f"{result.get('verdict')}: {first} {result.get('problems', '')}"
    if any(not step.get("compared_variables", True) for step in result["steps"]):
        return "the variables of a step were not compared"
    if result["steps_executed"] < len(each.made.cells):
        return f"only {result['steps_executed']} of {len(each.made.cells)} steps were executed"
    return ""


@REEXECUTION.measurement(
    Target(IDENTICAL, "sessions", at_most=0), Target(ASKED, "calls", at_most=0), Target(STEP_TIME, "ms")
)
def identical(bench: Bench) -> None:
    sessions = [Recorded(sketch(SEED + number)) for number in range(bench.rounds(100, 10))]
    with installation() as client:
        client.record(sessions, client.context("words.txt", CONTEXT))
        before = client.calls()
        client.execute_again(sessions)
        asked = client.calls() - before
    steps = [step for each in sessions for step in each.result.get("steps", [])]
    _count(
        bench,
        IDENTICAL,
        sessions,
        f"{len(steps)} steps of {len({kind for each in sessions for kind in each.made.kinds})} kinds",
    )
    bench.record(ASKED, asked, n=len(sessions))
    bench.record(STEP_TIME, p50([step["duration_ms"] for step in steps]), n=len(steps))


@REEXECUTION.measurement(Target(REPEATABLE, "sessions", at_most=0))
def repeatable(bench: Bench) -> None:
    """Code that looks at the clock and draws by chance, in sessions that were started as repeatable."""
    sessions = [repeating(number) for number in range(bench.rounds(50, 5))]
    with installation() as client:
        client.record(sessions, client.context("words.txt", CONTEXT))
        client.execute_again(sessions)
    _count(bench, REPEATABLE, sessions, f"{len(UNSTEADY)} kinds of readings and draws")


@REEXECUTION.measurement(Target(FOUND, "sessions", at_most=0))
def divergence(bench: Bench) -> None:
    sessions = [planted(number) for number in range(bench.rounds(100, len(PLANTS)))]
    with installation() as client:
        context = client.context("words.txt", CONTEXT)
        client.context(f"{PLANTED}.txt", CONTEXT + PLANTED)
        client.record(sessions, context)
        client.execute_again(sessions)
    causes = Counter(str((each.result.get("first") or {}).get("cause", "none")).partition(":")[0] for each in sessions)
    note = ", ".join(f"{cause} {times}" for cause, times in causes.most_common())
    _count(bench, FOUND, sessions, f"{len(PLANTS)} kinds of change; causes named: {note}")


def _count(bench: Bench, name: str, sessions: list[Recorded], note: str) -> None:
    wrong = {each.what: why for each in sessions if (why := fault(each))}
    for what, why in wrong.items():
        bench.say(f"{what}: {why}")
    right = len(sessions) - len(wrong)
    bench.record(name, len(wrong), n=len(sessions), note=f"{right} of {len(sessions)} right; {note}")
