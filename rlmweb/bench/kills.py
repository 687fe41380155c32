"""Kill any process at any time: sessions run, processes die by SIGKILL and come back, and the books are checked outside.

What is claimed: every session finishes with the answer of an undisturbed run; its event log is whole; no committed step
is lost or doubled; no LM call is booked twice; every snapshot on record is whole. The scripted model keeps a ledger of
its own, one line for each request that reached it, so the product's counters do not vouch for themselves: a call may have
reached the model more than once only if its journal row says `maybe_repeated`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlmweb.bench.outside import FINAL, Outside, log_faults, wait_until
from rlmweb.bench.whole import SnapshotBooks
from rlmweb.boot.stack import Stack
from runs.blobs import FolderStore

LEDGERS = "ledgers"
VICTIMS = ("worker-0", "worker-1", "web", "valkey", "sandboxes")
WORK = (
    ("hundred_steps", {"steps": 25, "latency_ms": 30}),
    ("many_leaves", {"steps": 4, "calls": 30, "latency_ms": 60, "jitter_ms": 200}),
    ("deep_tree", {"depth": 3, "nodes": 14, "latency_ms": 100}),
)
LIMITS = {"max_depth": 8, "max_steps_per_node": 200, "max_wall_s": 1200}


@dataclass
class Report:
    """What happened. `faults` is empty when every claim held."""

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    requests: int = 0
    snapshots: int = 0
    repeated: int = 0
    """Calls that reached the model more than once after a kill, marked as such."""
    doubled: int = 0
    """Calls that the books count twice."""
    recovery_s: list[float] = field(default_factory=list)
    """From each kill of a process to the next event of any session."""
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Started:
    uuid: str
    script: str
    ledger: str


class KillRun:
    """One run over a stack with two workers. `running` sessions are kept in flight while kills go on."""

    def __init__(self, stack: Stack, *, seed: int, running: int = 6) -> None:
        self.stack = stack
        self.outside = Outside(stack.address, stack.token, stack.database_url)
        self.random = random.Random(seed)
        self.running = running
        self.report = Report()
        self.started: list[Started] = []
        self.answers: dict[str, str] = {}
        self.snapshots = SnapshotBooks(self.outside, FolderStore(Path(stack.environment["RLMWEB_DATA_DIR"]) / "blobs"))
        self._context = ""

    def run(self, kills: int) -> Report:
        """Undisturbed answers first, then `kills` kills, then quiet until everything is over, then the books."""
        body = {"name": "lines.txt", "text": "one\ntwo\nthree\n" * 1000}
        self._context = self.outside.call("POST", "/contexts", body)["uuid"]
        self._undisturbed()
        for _ in range(kills):
            self._top_up()
            self._kill(self.random.choice(VICTIMS))
            # Kills fall anywhere in a session's life: between two of them a random time passes.
            self._pause(self.random.uniform(0.2, 2.5))
        self.outside.wait_for([one.uuid for one in self.started], timeout_s=300)
        for one in self.started:
            self._check(one)
        self.report.sessions = len(self.started)
        self.report.snapshots = self.snapshots.checked
        return self.report

    def _undisturbed(self) -> None:
        for script, options in WORK:
            one = self._start(script, options)
            self.outside.wait_for([one.uuid], timeout_s=120)
            self.answers[script] = self.outside.call("GET", f"/sessions/{one.uuid}")["answer"]
            self._check(one)

    def _top_up(self) -> None:
        statuses = self.outside.statuses(one.uuid for one in self.started)
        open_ = sum(status not in FINAL for status in statuses.values())
        for _ in range(self.running - open_):
            script, options = self.random.choice(WORK)
            self.started.append(self._start(script, options))

    def _start(self, script: str, options: Mapping[str, object]) -> Started:
        ledger = f"{script}-{self.random.getrandbits(64):016x}"
        model = {"api": "scripted", "model": f"scripted:{script}", "extra": {"options": {**options, "ledger": ledger}}}
        body = {"question": "?", "context": self._context, "title": ledger, "config": {"root": model, "limits": LIMITS}}
        # A request whose answer was lost may have started a session: found by its title, it is not started again.
        deadline = time.monotonic() + 60
        while True:
            try:
                return Started(self.outside.call("POST", "/sessions", body)["uuid"], script, ledger)
            except OSError:
                found = self.outside.rows("SELECT uuid::text FROM runs_session WHERE title = %s", ledger)
                if found:
                    return Started(found[0][0], script, ledger)
                if time.monotonic() > deadline:
                    raise

    def _kill(self, name: str) -> None:
        self.report.kills[name] += 1
        before = self._newest_event()
        killed_at = time.monotonic()
        self.stack.kill(name)
        self.stack.restart(name, wait=name == "valkey")
        wait_until(f"events after the kill of {name}", lambda: self._newest_event() > before, timeout_s=60)
        self.report.recovery_s.append(time.monotonic() - killed_at)

    def _newest_event(self) -> int:
        return int(self.outside.rows("SELECT coalesce(max(id), 0) FROM runs_event")[0][0])

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        wait_until("a pause", lambda: time.monotonic() >= deadline, seconds + 5)

    def _check(self, one: Started) -> None:
        faults = self.report.faults
        session = self.outside.patiently("GET", f"/sessions/{one.uuid}")
        wanted = self.answers.get(one.script, session["answer"])
        if session["status"] != "finished" or session["answer"] != wanted:
            faults.append(f"{one.uuid} {one.script}: {session['status']}, {session['answer']!r} and not {wanted!r}")
        events = self.outside.events(one.uuid)
        faults += [f"{one.uuid} {one.script}: {fault}" for fault in log_faults(events)]
        faults += [f"{one.uuid} {one.script}: {fault}" for fault in self.snapshots.faults(one.uuid)]
        self._check_books(one, session["usage"]["lm_calls"])

    def _check_books(self, one: Started, metered: int) -> None:
        """The model's own ledger against the journal."""
        ledger = self.stack.folder / LEDGERS / one.ledger
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        reached = Counter(line.split(" ", 3)[3].strip("'").partition("/")[2] for line in lines)
        rows = self.outside.rows(
            "SELECT n.number, s.number, c.cell, c.subcall, c.index, c.status, c.maybe_repeated FROM runs_lmcall c"
            " JOIN runs_step s ON s.id = c.step_id JOIN runs_node n ON n.id = s.node_id"
            " JOIN runs_session r ON r.id = c.session_id WHERE r.uuid::text = %s",
            one.uuid,
        )
        booked = {"/".join(map(str, row[:5])): row for row in rows}
        self.report.requests += len(lines)
        finished = self.outside.rows(
            "SELECT count(*) FROM runs_event e JOIN runs_session r ON r.id = e.session_id"
            " WHERE r.uuid::text = %s AND e.type = 'lm.finished'",
            one.uuid,
        )[0][0]
        self.report.doubled += max(0, metered - len(rows)) + max(0, finished - len(rows))
        if metered != len(rows):
            self.report.faults.append(f"{one.uuid}: {metered} calls metered, {len(rows)} journalled")
        for key, row in booked.items():
            if row[5] != "finished":
                self.report.faults.append(f"{one.uuid}: call {key} ended as {row[5]}")
            if reached[key] != 1 and not row[6]:
                self.report.faults.append(f"{one.uuid}: call {key} reached the model {reached[key]} times, unmarked")
            self.report.repeated += reached[key] > 1
        for key in reached.keys() - booked.keys():
            self.report.faults.append(f"{one.uuid}: call {key} reached the model and is not in the journal")


def kill_stack(folder: Path) -> Stack:
    """The stack for a `KillRun`, with durable PostgreSQL: what is committed must survive."""
    (folder / LEDGERS).mkdir(parents=True)
    environment = {"RLMWEB_SCRIPT_LEDGER_DIR": str(folder / LEDGERS)}
    return Stack(folder, workers=2, threads=6, throwaway=False, extra_environment=environment)
