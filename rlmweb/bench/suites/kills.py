"""Processes killed at random, the books checked from outside (`rlmweb.bench.kills`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rlmweb.bench.kills import KillRun, kill_stack
from runs.bench.bars import Target
from runs.bench.stats import p95
from runs.bench.suite import Bench, suite

SEED = 20261123
KILLS = suite(
    "kills", "Kill -9 any process at any time: every session finishes and nothing is lost, doubled or paid twice."
)

FAULTS = "faults in 50 kills"
REPEATED = "calls booked twice"
RECOVERY = "kill to next event p95"


@KILLS.measurement(
    Target(FAULTS, "faults", at_most=0), Target(REPEATED, "calls", at_most=0), Target(RECOVERY, "s", at_most=15)
)
def kills(bench: Bench) -> None:
    number = bench.rounds(50, 10)
    with tempfile.TemporaryDirectory(prefix="rlmweb-kills-") as folder, kill_stack(Path(folder) / "stack") as stack:
        report = KillRun(stack, seed=SEED).run(number)
    for fault in report.faults:
        bench.say(fault)
    killed = ", ".join(f"{name} {times}" for name, times in sorted(report.kills.items()))
    note = (
        f"{report.sessions} sessions, {report.requests} model requests, {report.snapshots} snapshots; killed: {killed}"
    )
    bench.record(FAULTS, len(report.faults), n=number, note=note)
    note = f"{report.repeated} calls reached the model twice after a kill; each is marked maybe_repeated"
    bench.record(REPEATED, report.doubled, n=report.requests, note=note)
    bench.record(RECOVERY, p95(report.recovery_s), n=number)
