"""What snapshots cost: the time a step waits, the bytes it stores, the way back. References are measured in the same run:
a bare fork of the same heap, the distinct contents compressed once, and Kishu on the same cells.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlmweb.bench.kishu import Kishu
from rlmweb.bench.snapshot_box import MIB, SnapshotBox, Taken, open_box, snapshot_service
from rlmweb.bench.text_session import CELLS, make_context
from runs.bench.bars import Target
from runs.bench.stats import p50
from runs.bench.suite import Bench, CannotMeasure, suite
from runs.bench.suites.sandbox import Service, service
from runs.blobs import BlobStore, FolderStore
from sandboxes.local.processes import process_tree, proportional_bytes
from sandboxes.side import SideLink

SNAPSHOTS = suite("snapshots", "What snapshots cost, and the way back to them.")
SIZES_MB = (1, 10, 50)
POOLED_S = 1.5
"""How long a sandbox of the pool was idle before it is taken: it has loaded what it can by then."""
SMALL_OBJECTS = "heap = [str(n) * 6 for n in range({count})]"
FORK_TIMES = """
import os, time
times_ms = []
for _ in range({count}):
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    times_ms.append((time.perf_counter() - begun) * 1000)
    os.waitpid(child, 0)
FINAL(sorted(times_ms)[len(times_ms) // 2])
"""
_DISTINCT = """
import hashlib, json, sys
import cloudpickle, zstandard
cells, path = json.load(open(sys.argv[1])), sys.argv[2]
values = {"__name__": "__main__", "context": open(path).read()}
seen, total = set(), 0
for cell in cells:
    exec(compile(cell, "<cell>", "exec"), values)
    for name, value in list(values.items()):
        if name.startswith("__") or name == "context" or type(value) is type(sys):
            continue
        try:
            data = cloudpickle.dumps(value, 5)
        except Exception:
            continue
        digest = hashlib.sha256(data).digest()
        if digest not in seen:
            seen.add(digest)
            total += len(zstandard.ZstdCompressor(level=1).compress(data))
print()
print(total)
"""


def _name(what: str, megabytes: int) -> str:
    return f"{what}, {megabytes} MB context"


def _session_targets() -> list[Target]:
    targets = []
    for size in SIZES_MB:
        strict = size > 1
        targets += [
            Target(_name("step blocked by its snapshot p50", size), "ms", at_most=10 if strict else None),
            Target(_name("stored a step p50", size), "kB", at_most=10 if strict else None),
            Target(_name("stored in all, against distinct content", size), "MB", ratio_at_most=1.1 if strict else None),
            Target(_name("restore of everything to first result", size), "ms", at_most={10: 150, 50: 800}.get(size)),
            Target(_name("restore of one variable to first result", size), "ms", at_most={50: 200}.get(size)),
        ]
        if strict:
            targets += [
                Target(_name("step blocked, against Kishu", size), "ms", ratio_at_most=1 / 50),
                Target(_name("stored in all, against Kishu", size), "MB", ratio_at_most=1 / 4),
            ]
    return targets


@SNAPSHOTS.measurement(*_session_targets())
def text_session(bench: Bench) -> None:
    """The 32 cells, with a snapshot after each, and back to the last of them in a new sandbox."""
    for size in SIZES_MB[: 2 if bench.quick else 3]:
        with tempfile.TemporaryDirectory(prefix="rlmweb-snapshots-") as name, snapshot_service() as started:
            folder = Path(name)
            context = folder / "context.txt"
            make_context(context, size)
            store = FolderStore(folder / "blobs")
            taken = _run_cells(bench, started, store, context)
            blocked_ms = p50([each.blocked_ms for each in taken])
            total_mb = sum(each.stored_bytes for each in taken) / 1e6
            inside = p50([each.in_sandbox_ms for each in taken])
            written = p50([each.written_ms for each in taken])
            bench.record(
                _name("step blocked by its snapshot p50", size),
                blocked_ms,
                n=len(taken),
                note=f"{inside:.1f} ms of it in the sandbox, written down in the background in {written:.0f} ms",
            )
            bench.record(
                _name("stored a step p50", size), p50([each.stored_bytes for each in taken]) / 1000, n=len(taken)
            )
            distinct_mb = _distinct_bytes(folder, context) / 1e6
            bench.record(_name("stored in all, against distinct content", size), total_mb, reference=distinct_mb)
            _restores(bench, started, store, context, taken[-1], size)
            if size > 1:
                _against_kishu(bench, folder, context, size, blocked_ms, total_mb)


def _run_cells(bench: Bench, started: Service, store: BlobStore, context: Path) -> list[Taken]:
    box = open_box(started, store)
    try:
        box.set_up(context, _sha256(context))
        taken = []
        for cell in CELLS:
            box.run(cell)
            taken.append(box.snapshot())
        held = json.loads(taken[-1].manifest)
        bench.say(f"not held: {', '.join(each['name'] for each in held['dropped']) or 'nothing'}")
        return taken
    finally:
        box.close()


def _restores(bench: Bench, started: Service, store: BlobStore, context: Path, last: Taken, size: int) -> None:
    rounds = bench.rounds(5, 2)
    full_ms = [
        _restore_ms(started, store, context, last, "print(len(lines), len(df), top[0])", True) for _ in range(rounds)
    ]
    one_ms = [_restore_ms(started, store, context, last, "print(len(notes))", False) for _ in range(rounds)]
    bench.record(_name("restore of everything to first result", size), p50(full_ms), n=rounds)
    bench.record(_name("restore of one variable to first result", size), p50(one_ms), n=rounds)


def _restore_ms(started: Service, store: BlobStore, context: Path, last: Taken, code: str, eager: bool) -> float:
    """From asking for a sandbox to the output of the first cell."""
    started.wait_until_filled(1)
    time.sleep(POOLED_S)
    sha256 = _sha256(context)
    begun = time.perf_counter()
    box = open_box(started, store)
    try:
        box.set_up(context, sha256)
        box.restore(last.manifest, eager=eager)
        box.run(code)
        return (time.perf_counter() - begun) * 1000
    finally:
        box.close()


def _against_kishu(bench: Bench, folder: Path, context: Path, size: int, blocked_ms: float, total_mb: float) -> None:
    names = (_name("step blocked, against Kishu", size), _name("stored in all, against Kishu", size))
    try:
        with Kishu() as kishu:
            session = kishu.run([f"context = open({str(context)!r}).read()\n{CELLS[0]}", *CELLS[1:]])
    except CannotMeasure as reason:
        for name in names:
            bench.miss(name, str(reason))
        return
    bench.record(names[0], blocked_ms, reference=p50(session.step_ms), n=len(session.step_ms))
    bench.record(names[1], total_mb, reference=session.stored_bytes / 1e6)


def _distinct_bytes(folder: Path, context: Path) -> int:
    """Every value that a variable ever had (the context left out), pickled by itself and compressed once."""
    (folder / "cells.json").write_text(json.dumps(CELLS))
    command = [sys.executable, "-c", _DISTINCT, str(folder / "cells.json"), str(context)]
    environment = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    if done.returncode:
        raise CannotMeasure(f"the distinct contents could not be counted: {done.stderr.strip().splitlines()[-1:]}")
    return int(done.stdout.strip().splitlines()[-1])


LIVE = "live snapshot p50, {} heap"
FORK = "live snapshot p50 less 2 ms, {} heap, against a bare fork"
EVALUATE = "live fork to first result p50, {} heap"
PARKED = "PSS of 100 parked snapshots of a 100 MB session"
HEAPS = (("100 MB", 1_000_000, 5, 15), ("1 GB", 10_000_000, 30, 100))
"""Name, objects of about 100 bytes, and the bars in milliseconds: snapshot, fork to result."""


@SNAPSHOTS.measurement(
    *(Target(LIVE.format(heap), "ms", at_most=limit) for heap, _, limit, _ in HEAPS),
    *(Target(FORK.format(heap), "ms", ratio_at_most=3) for heap, *_ in HEAPS),
    *(Target(EVALUATE.format(heap), "ms", at_most=limit) for heap, _, _, limit in HEAPS),
)
def live(bench: Bench) -> None:
    """Copies of heaps of small objects, and results of code that runs in a fork of them."""
    rounds = bench.rounds(20, 5)
    for heap, count, _, _ in HEAPS[: 1 if bench.quick else 2]:
        with _heap_box(count) as (box, _):
            fork_ms = _final(box, FORK_TIMES.format(count=rounds))
            taken = []
            for n in range(rounds):
                box.run(f"step = {n}")
                taken.append(box.snapshot(durable=False))
            snapshot_ms = p50([each.blocked_ms for each in taken])
            note = "; ".join({each.reason for each in taken if each.reason})
            bench.record(LIVE.format(heap), snapshot_ms, n=rounds, note=note)
            bench.record(FORK.format(heap), max(snapshot_ms - 2, 0), reference=fork_ms, n=rounds)
            side = SideLink(box.sandbox)
            durations_ms = [_evaluation_ms(side, taken[-1 - n % 5], "len(heap), step") for n in range(rounds)]
            side.close()
            bench.record(EVALUATE.format(heap), p50(durations_ms), n=rounds)


@SNAPSHOTS.measurement(Target(PARKED, "MB", at_most=350))
def parked(bench: Bench) -> None:
    """Each after a change of about a megabyte."""
    copies = bench.rounds(100, 20)
    with _heap_box(HEAPS[0][1]) as (box, pid):
        for n in range(copies):
            box.run(f"for i in range({n * 5_000}, {(n + 1) * 5_000}): heap[i] = str(i) * 12")
            taken = box.snapshot(durable=False)
            if not taken.live:
                raise CannotMeasure(f"copy {n + 1} was not parked: {taken.reason}")
        in_all = proportional_bytes(process_tree(pid)[1:])
        kept = len(process_tree(pid))
    bench.record(PARKED, in_all / MIB, n=copies, note=f"all {kept - 1} processes of the sandbox, the session included")


@contextmanager
def _heap_box(count: int) -> Iterator[tuple[SnapshotBox, int]]:
    """A sandbox with `count` objects on its heap, and the process that started it. Its interpreter is the default one:
    packages would count as memory of the session."""
    with tempfile.TemporaryDirectory(prefix="rlmweb-live-") as name, service(pool=1) as started:
        box = open_box(started, FolderStore(Path(name)), memory_mb=8192)
        try:
            box.run(SMALL_OBJECTS.format(count=count))
            yield box, started.pid
        finally:
            box.close()


def _final(box: SnapshotBox, code: str) -> float:
    finished = box.run(code)
    assert finished.final is not None
    return float(box.link.read_payload(finished.final, 1000))


def _evaluation_ms(side: SideLink, taken: Taken, code: str) -> float:
    begun = time.perf_counter()
    said = side.evaluate(taken.id, code, 60)
    duration_ms = (time.perf_counter() - begun) * 1000
    if said.status != "ok":
        raise CannotMeasure(f"the evaluation ended as {said.status}: {said.error.message if said.error else ''}")
    return duration_ms


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
