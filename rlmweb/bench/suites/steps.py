"""What the machinery around the models costs: steps, wide batches, deep trees, many sessions, and the way to the browser.

Every measurement runs a whole installation of its own: PostgreSQL, broker, web, worker, sandboxes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from rlmweb.bench.outside import Outside, log_faults, wait_until
from rlmweb.bench.rlms import rlms_step_ms
from rlmweb.bench.watching import OUTPUT_CODE, watched
from rlmweb.boot.stack import Stack
from runs.bench.bars import Target
from runs.bench.stats import p50, p95
from runs.bench.suite import Bench, CannotMeasure, suite

STEPS = suite("steps", "What a step, a call and a node cost beside the model.")

STEP = "step p50, one browser watching"
STEP_RLMS = "step p50 of rlms 0.1.3 with its logger"
LEAVES = "1,000 parallel leaf calls of 100 ms"
TREE = "nodes of a 300-node tree finished on one worker slot"
BROWSER = "cell output to browser DOM p95"
CROWD = "faults in 100 sessions at once"
CROWD_TIME = "100 sessions of 10 steps at once"
MEMORY = "worker memory after 5 rounds of sessions"

FANOUT = 32
"""`RLMWEB_LM_FANOUT` of the measured installation."""


class Client(Outside):
    """Starts scripted sessions on one small context."""

    def start(self, script: str, options: dict[str, Any], **limits: Any) -> str:
        body = {"name": "lines.txt", "text": "one\ntwo\nthree\n" * 1000}
        context = self.call("POST", "/contexts", body)["uuid"]
        model = {"api": "scripted", "model": f"scripted:{script}", "extra": options}
        config = {"root": model, "limits": {"max_steps_per_node": 200, **limits}}
        return str(self.call("POST", "/sessions", {"question": "?", "context": context, "config": config})["uuid"])

    def answer(self, uuid: str) -> str:
        return str(self.call("GET", f"/sessions/{uuid}")["answer"])


@contextmanager
def installation(**settings: Any) -> Iterator[tuple[Stack, Client]]:
    with ExitStack() as exits:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="rlmweb-steps-"))
        stack = exits.enter_context(Stack(Path(folder) / "stack", throwaway=False, **settings))
        client = Client(stack.address, stack.token, stack.database_url)
        client.wait_for([client.start("hundred_steps", {"options": {"steps": 3}})], 60)  # imports, first sandbox
        yield stack, client


@STEPS.measurement(Target(STEP, "ms", at_most=25), Target(STEP_RLMS, "ms"))
def step(bench: Bench) -> None:
    steps = bench.rounds(100, 20)
    with installation() as (stack, client), watched(stack) as browser:
        uuid = client.start("hundred_steps", {"options": {"steps": steps}})
        browser.open(uuid)
        client.wait_for([uuid], 120)
        events = client.events(uuid)
    begun = [event["at"] for event in events if event["type"] == "step.started"]
    durations_ms = [after - before for before, after in pairwise(begun)]
    try:
        reference_ms = rlms_step_ms(steps)
    except CannotMeasure as reason:
        bench.miss(STEP_RLMS, str(reason))
        bench.record(STEP, p50(durations_ms), n=len(durations_ms))
        return
    note = "no isolation, no database, no tree: one process"
    bench.record(STEP_RLMS, p50(reference_ms), n=len(reference_ms), note=note)
    bench.record(STEP, p50(durations_ms), reference=p50(reference_ms), n=len(durations_ms))


@STEPS.measurement(Target(LEAVES, "s", ratio_at_most=1.5))
def leaves(bench: Bench) -> None:
    calls = bench.rounds(1000, 200)
    with installation(extra_environment={"RLMWEB_LM_FANOUT": str(FANOUT)}) as (_, client):
        uuid = client.start("fan_out", {"options": {"calls": calls, "latency_ms": 100}})
        client.wait_for([uuid], 120)
        events = client.events(uuid)
    opened = next(event["at"] for event in events if event["type"] == "subcall.opened")
    closed = next(event["at"] for event in events if event["type"] == "subcall.closed")
    ideal_s = -(-calls // FANOUT) * 0.1
    bench.record(LEAVES, (closed - opened) / 1000, reference=ideal_s, n=calls, note=f"fan-out {FANOUT}")


@STEPS.measurement(Target(TREE, "nodes", at_least=300))
def tree(bench: Bench) -> None:
    with installation(threads=1) as (_, client):
        started = time.monotonic()
        uuid = client.start("deep_tree", {"options": {"depth": 5, "nodes": 300}}, max_depth=8)
        client.wait_for([uuid], 400)
        seconds = time.monotonic() - started
        events = client.events(uuid)
        answer = client.answer(uuid)
    faults = log_faults(events)
    if answer != "300" or faults:
        bench.miss(TREE, f"the answer is {answer}, faults: {faults[:3]}")
        return
    nodes = sum(event["type"] == "node.finished" for event in events)
    bench.record(TREE, nodes, note=f"depth 5, one thread of one worker, {seconds:.1f} s")


@STEPS.measurement(Target(BROWSER, "ms", at_most=150))
def browser(bench: Bench) -> None:
    prints = bench.rounds(100, 20)
    script = {
        "rules": [{"when": {"kind": "turn"}, "reply": f"```repl\n{OUTPUT_CODE.format(prints=prints)}\n```"}],
        "default": {"reply": "?"},
    }
    with installation() as (stack, client), watched(stack) as page:
        uuid = client.start("inline", {"script": script})
        page.open(uuid)
        client.wait_for([uuid], 120)
        wait_until("output in the page", lambda: len(page.delays_ms()) >= prints * 0.95, 20)
        delays_ms = page.delays_ms()
    bench.record(BROWSER, p95(delays_ms), n=len(delays_ms), note=f"p50 {p50(delays_ms):.0f} ms, real Chromium")


@STEPS.measurement(Target(CROWD, "faults", at_most=0), Target(CROWD_TIME, "s"), Target(MEMORY, "MB"))
def crowd(bench: Bench) -> None:
    sessions = bench.rounds(100, 20)
    sizes_mb: list[float] = []
    faults: list[str] = []
    with installation() as (stack, client):
        worker = stack.children["worker-0"].process
        assert worker is not None
        process = psutil.Process(worker.pid)
        for round_ in range(5):
            started = time.monotonic()
            number = sessions if round_ == 0 else sessions // 4
            uuids = [client.start("hundred_steps", {"options": {"steps": 10}}) for _ in range(number)]
            statuses = client.wait_for(uuids, 400)
            if round_ == 0:
                seconds = time.monotonic() - started
                faults = [f"{uuid}: {status}" for uuid, status in statuses.items() if status != "finished"]
                faults += [f"{uuid}: {client.answer(uuid)}" for uuid in uuids if client.answer(uuid) != "55"]
                faults += [fault for uuid in uuids for fault in log_faults(client.events(uuid))]
            sizes_mb.append(process.memory_info().rss / 1e6)
    for fault in faults:
        bench.say(fault)
    bench.record(CROWD, len(faults), n=sessions)
    bench.record(CROWD_TIME, seconds, n=sessions)
    grown = ", ".join(f"{size:.0f}" for size in sizes_mb)
    bench.record(MEMORY, sizes_mb[-1], reference=sizes_mb[0], n=len(sizes_mb), note=f"after each round: {grown} MB")
