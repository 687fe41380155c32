"""Forks of one snapshot at once: does any of them, or the parent, see anything of another, and how long do they take?

Every fork changes every variable and file to its own mark, waits until others have done so too, and looks at all of it
again. The parent does the same in its next step meanwhile.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from rlmweb.bench.outside import FINAL, Outside, TimedOut, wait_until
from rlmweb.boot.stack import Stack
from runs.bench.bars import Target
from runs.bench.stats import p50
from runs.bench.suite import Bench, suite

FORKS = suite("forks", "Forks of one snapshot at once, and the parent's next step among them.")
SEEN = "marks of others seen by 64 forks and their parent"
WRONG = "forks and parents that did not end as they should"
SECONDS = "64 forks at once, from the first request to the last answer"
START = "request of a fork p50"
LEFT = "sandboxes left when all are over"
MEMORY = "memory of all sandboxes at most"

STATE_MB = 8
TIMEOUT_S = 400
GONE_S = 20
LOOK_EVERY_S = 1.0
FORK_PAUSE_S = 8
PARENT_PAUSE_S = 12
"""Between changing everything and looking at it again: the others change everything meanwhile."""
AT_ONCE = 16
"""Requests under way at the same time."""

BASE = f"""\
import os, time
numbers = list(range(1000))
table = {{'by': {{'name': ['base']}}}}
alias = table['by']
class Box:
    mark = 'base'
box = Box()
def tell(): return MARK
MARK = 'base'
blob = bytearray({STATE_MB} * 1_000_000)
os.makedirs('folder', exist_ok=True)
with open('folder/notes.txt', 'w') as file: file.write('base')"""

CHANGE = """\
import json, os, time
MARK = {mark!r}
numbers.append(MARK); alias['name'].append(MARK); Box.mark = MARK; box.own = MARK
blob[:len(MARK)] = MARK.encode()
with open('folder/notes.txt', 'a') as file: file.write(' ' + MARK)
with open(f'of-{{MARK}}.txt', 'w') as file: file.write(MARK)
time.sleep({pause_s})
seen = [numbers[1000:], table['by']['name'], Box.mark, box.own, tell(), bytes(blob[:len(MARK)]).decode(),
        open('folder/notes.txt').read().split(), sorted(name for name in os.listdir('.') if name.startswith('of-'))]
answer['content'] = json.dumps(seen)
answer['ready'] = True"""
LOOK = "json.dumps([numbers[1000:], table, Box.mark, tell(), bytes(blob[:4]).hex(), open('folder/notes.txt').read()])"
UNTOUCHED = [[], {"by": {"name": ["base"]}}, "base", "base", "00000000", "base"]


def expected(mark: str) -> list[Any]:
    return [[mark], ["base", mark], mark, mark, mark, mark, ["base", mark], [f"of-{mark}.txt"]]


def marks_in(value: object) -> set[str]:
    """All marks in what a session saw; a mark is `base`, `parent` or `fork-` and a number."""
    if isinstance(value, list | tuple):
        return {mark for each in value for mark in marks_in(each)}
    text = str(value).removeprefix("of-").removesuffix(".txt")
    return {text} if text in ("base", "parent") or text.startswith("fork-") else set()


@dataclass
class Outcome:
    """What became of one round of forks."""

    seen: int = 0
    wrong: list[str] = field(default_factory=list)
    requests_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    left: int = 0
    most_mb: float = 0.0
    most_sandboxes: int = 0


class Family(Outside):
    """One parent and its forks."""

    def start_parent(self, pause_s: float) -> str:
        body = {"name": "text.txt", "text": "one two three\n" * 1000}
        context = self.call("POST", "/contexts", body)["uuid"]
        cells = [BASE, CHANGE.format(mark="parent", pause_s=pause_s)]
        rules = [
            {"when": {"kind": "turn", "step": step}, "reply": f"```repl\n{cell}\n```"}
            for step, cell in enumerate(cells, 1)
        ]
        script = {"rules": rules, "default": {"reply": "?"}}
        model = {"api": "scripted", "model": "scripted:inline", "extra": {"script": script}}
        request = {"question": "?", "context": context, "config": {"root": model}}
        return str(self.call("POST", "/sessions", request)["uuid"])

    def fork(self, parent: str, mark: str) -> tuple[str, float]:
        """Its uuid and how long the request took."""
        started = time.monotonic()
        reply = f"```repl\n{CHANGE.format(mark=mark, pause_s=FORK_PAUSE_S)}\n```"
        made = self.call("POST", f"/sessions/{parent}/forks", {"step": 1, "title": mark, "changes": {"reply": reply}})
        return str(made["uuid"]), time.monotonic() - started

    def has_snapshot(self, uuid: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sandboxes_snapshot WHERE session_uuid::text = %s", uuid))

    def running_sandboxes(self) -> int:
        return int(self.rows("SELECT count(*) FROM sandboxes_sandboxrecord WHERE state = 'running'")[0][0])

    def check(self, uuid: str, mark: str, outcome: Outcome) -> None:
        session = self.call("GET", f"/sessions/{uuid}")
        try:
            saw = json.loads(session["answer"] or "")
        except ValueError:
            outcome.wrong.append(f"{mark}: {session['status']}, {session['answer']!r}, {session.get('error')}")
            return
        others = marks_in(saw) - {"base", mark}
        outcome.seen += len(others)
        if others or saw != expected(mark) or session["status"] != "finished":
            outcome.wrong.append(f"{mark}: {session['status']}, saw {saw}")


@FORKS.measurement(
    Target(SEEN, "marks", at_most=0),
    Target(WRONG, "sessions", at_most=0),
    Target(SECONDS, "s"),
    Target(START, "ms"),
    Target(LEFT, "sandboxes", at_most=0),
    Target(MEMORY, "MB"),
)
def forks(bench: Bench) -> None:
    number = bench.rounds(64, 8)
    # A thread for each of them: all are under way together, whatever an installation of this size would let run.
    with fork_stack(threads=number + 1) as stack:
        outcome = measure(stack, number)
    for each in outcome.wrong:
        bench.say(each)
    bench.record(SEEN, outcome.seen, n=number + 1)
    bench.record(WRONG, len(outcome.wrong), n=number + 1)
    note = f"state of {STATE_MB} MB; each waits {FORK_PAUSE_S} s; {outcome.most_sandboxes} sandboxes ran together"
    bench.record(SECONDS, outcome.seconds, n=number, note=note)
    bench.record(START, p50(outcome.requests_s) * 1000, n=number, note=f"{AT_ONCE} requests at a time")
    bench.record(LEFT, outcome.left, n=number + 1, note=f"after at most {GONE_S} s")
    bench.record(MEMORY, outcome.most_mb, n=number, note="PSS of the sandbox service and all below it")


def measure(stack: Stack, number: int) -> Outcome:
    family = Family(stack.address, stack.token, stack.database_url)
    outcome = Outcome()
    parent = family.start_parent(pause_s=PARENT_PAUSE_S)
    wait_until("the parent's first snapshot", lambda: family.has_snapshot(parent), 60)
    marks = [f"fork-{n}" for n in range(number)]
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(lambda mark: family.fork(parent, mark), marks))
    outcome.requests_s = [seconds for _, seconds in made]
    uuids = [uuid for uuid, _ in made]
    _watch(stack, family, [parent, *uuids], outcome)
    outcome.seconds = time.monotonic() - started
    for uuid, mark in [(parent, "parent"), *zip(uuids, marks, strict=True)]:
        family.check(uuid, mark, outcome)
    with suppress(TimedOut):
        wait_until("sandboxes end", lambda: not family.running_sandboxes(), GONE_S)
    outcome.left = family.running_sandboxes()
    before = family.call("POST", f"/sessions/{parent}/nodes/0/steps/1/evaluate", {"code": f"import json\n{LOOK}"})
    if not before["value"] or json.loads(before["value"].strip("'")) != UNTOUCHED:
        outcome.wrong.append(f"the snapshot itself is now {before}")
    return outcome


def _watch(stack: Stack, family: Family, uuids: list[str], outcome: Outcome) -> None:
    """Wait until these sessions are over, and note the most sandboxes and memory meanwhile."""
    service = stack.children["sandboxes"].process
    assert service is not None
    looked = 0.0

    def over() -> bool:
        nonlocal looked
        if time.monotonic() > looked + LOOK_EVERY_S:
            outcome.most_mb = max(outcome.most_mb, _pss_mb(psutil.Process(service.pid)))
            outcome.most_sandboxes = max(outcome.most_sandboxes, family.running_sandboxes())
            looked = time.monotonic()
        return FINAL.issuperset(family.statuses(uuids).values())

    wait_until("forks and their parent end", over, TIMEOUT_S)


def _pss_mb(service: psutil.Process) -> float:
    total = 0
    for process in [service, *service.children(recursive=True)]:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


@contextmanager
def fork_stack(threads: int) -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="rlmweb-forks-") as folder,
        Stack(Path(folder) / "stack", threads=threads) as stack,
    ):
        yield stack
