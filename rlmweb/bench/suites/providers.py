"""What providers take for what a session needs of them, and what our adapters add to the vendors' clients.

Real figures are of this machine's sandboxes and of vendors that a named team has keys for. Test servers are those of the
repository's tests: the vendors' own clients talk to them over loopback, so they say what clients and adapters cost and
nothing of a vendor's speed. All samples go to the catalogue of the installation, each with where it comes from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from rlmweb.bench.bare_clients import MAKERS, bare
from rlmweb.bench.imports import SDKS, children_cpu_ns, cold_import_pair, sdks_imported
from rlmweb.bench.portable_snapshots import measure_portable
from rlmweb.bench.repository import from_tests
from rlmweb.bench.scratch_database import scratch_database
from rlmweb.bench.seven_operations import Timings, measure
from rlmweb.bench.simulated import CROWD, crowd_of
from rlmweb.teams.models import Team
from runs.bench.bars import Target
from runs.bench.stats import p50, p95, paired
from runs.bench.suite import Bench, CannotMeasure, suite
from runs.bench.suites.sandbox import service
from runs.blobs import FolderStore
from sandboxes import aio
from sandboxes.accounts.opening import place_of
from sandboxes.catalogue import measuring
from sandboxes.catalogue.measuring import Operation, Source
from sandboxes.contract import Spec
from sandboxes.errors import SandboxError
from sandboxes.models import ProviderAccount
from sandboxes.vendors import VENDORS

PROVIDERS = suite("providers", "What providers take, and what our adapters add to the vendors' clients.")

TEAM_VARIABLE = "RLMWEB_BENCH_TEAM"
PATIENCE_S = 1800.0
BY_THE_RUNNER = (Operation.SNAPSHOT, Operation.RESTORE, Operation.FORK_10)
OVERHEADS = ("create", "exec", "snapshot")
MOST_SNAPSHOTS = 25
"""By ours and by theirs each: Daytona keeps 60 for an account, and the test server holds to it."""
LOOPBACK = "adapters measured against test servers"
MEASURED = "vendors measured"
MEMORY = f"memory per idle sandbox, {CROWD:,} at once"
THREADS = f"threads added by {CROWD:,} sandboxes"
IMPORTED = "vendors' clients imported with the application"
START_UP = "start-up with all extras installed, beside none"


def local_bar(operation: str) -> str:
    return f"local {operation} p50"


def overhead_bar(name: str, operation: str) -> str:
    return f"{name} {operation} over the bare client"


@PROVIDERS.measurement(*(Target(local_bar(each), "ms") for each in Operation.values))
def local(bench: Bench) -> None:
    """This machine, for real, without a pool. Its provider takes no snapshots itself; those of the runner are measured."""
    with service(pool=0) as started, tempfile.TemporaryDirectory(prefix="rlmweb-providers-") as folder:
        timings = _measured(bench, started.provider, Spec(), "local", Source.BENCH, bench.rounds(30, 3))
        measure_portable(started, FolderStore(Path(folder)), timings, bench.rounds(10, 2))
        _write(bench, "local")
    for operation in Operation.values:
        found = timings.ms[operation]
        if not found:
            bench.miss(local_bar(operation), timings.errors.get(operation, "a round failed before it"))
            continue
        whose = ", by the runner" if operation in BY_THE_RUNNER else ""
        bench.record(local_bar(operation), p50(found), n=len(found), note=f"p95 {p95(found):.1f} ms{whose}")


@PROVIDERS.measurement(Target(MEASURED, "vendors"))
def vendors(bench: Bench) -> None:
    """Every vendor that the team of `RLMWEB_BENCH_TEAM` has a key for. Costs a few cents of sandbox time at each."""
    slug = os.environ.get(TEAM_VARIABLE, "")
    team = Team.objects.filter(slug=slug).first() if slug else None
    if team is None:
        raise CannotMeasure(f"set {TEAM_VARIABLE} to the slug of a team whose keys may be used; it costs sandbox time")
    names = list(ProviderAccount.objects.filter(team=team).values_list("provider", flat=True))
    done = []
    for name in names:
        try:
            provider = place_of(name, team).provider
        except SandboxError as error:
            bench.say(f"{name}: {error}")
            continue
        timings = _measured(bench, provider, Spec(lifetime_s=900), name, Source.BENCH, bench.rounds(10, 1))
        _write(bench, name)
        done += [name] if timings.ms[Operation.CREATE] else []
    bench.record(MEASURED, len(done), n=len(names), note=", ".join(done) or f"the team {team.name} has no keys")


@PROVIDERS.measurement(Target(LOOPBACK, "adapters"))
def loopback(bench: Bench) -> None:
    """The vendors' clients and our adapters against the test servers."""
    done, notes = 0, []
    names = [name for name in from_tests("wire.rig").available() if name not in ("local", "direct", "direct_text")]
    for name in names:
        with _rig(name) as rig:
            rounds = bench.rounds(10, 2)
            timings = _measured(bench, rig.provider, rig.spec, name, Source.LOOPBACK, rounds)
        _write(bench, name)
        notes.append(timings.line())
        done += bool(timings.ms[Operation.TERMINATE])
    for note in notes:
        bench.say(note)
    bench.record(LOOPBACK, done, n=len(names), note="; ".join(notes))


def _overhead_of(name: str) -> None:
    """Our time on top of one vendor's client, in turns in one run; a measurement of its own, so that one that breaks
    costs no other."""

    def overhead(bench: Bench) -> None:
        with _rig(name) as rig:
            _compare(bench, name, rig)

    overhead.__name__ = f"overhead_{name}"
    targets = (Target(overhead_bar(name, each), "ms", ratio_at_most=1.2) for each in OVERHEADS)
    PROVIDERS.measurement(*targets)(overhead)


for _name in MAKERS:
    _overhead_of(_name)


def _compare(bench: Bench, name: str, rig: Any) -> None:
    rounds = bench.rounds(60, 8)

    def ours_made() -> Any:
        return aio.run(rig.provider.create(rig.spec, idempotency_key=uuid4().hex), timeout_s=60)

    sandbox = ours_made()  # makes the client
    calls = bare(name, rig.provider, rig.spec)

    def theirs_made() -> Any:
        return aio.run(_awaited(calls.create), timeout_s=60)

    other = theirs_made()
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "create": (ours_made, theirs_made),
        "exec": (
            lambda: aio.run(sandbox.exec(["true"], timeout_s=30), timeout_s=60),
            lambda: aio.run(_awaited(lambda: calls.run(other)), timeout_s=60),
        ),
        "snapshot": (
            lambda: aio.run(sandbox.snapshot("fs"), timeout_s=60),
            lambda: aio.run(_awaited(lambda: calls.snapshot(other)), timeout_s=60),
        ),
    }
    for operation, (ours, theirs) in pairs.items():
        most = MOST_SNAPSHOTS if operation == "snapshot" else rounds
        result = paired(ours, theirs, rounds=min(rounds, most), warm_up=3)
        note = f"{result.difference_ms:+.1f} ms"
        bar, reference = overhead_bar(name, operation), p50(result.reference_ms)
        bench.record(bar, p50(result.subject_ms), reference=reference, n=result.n, note=note)


async def _awaited(call: Callable[[], Any]) -> Any:
    return await call()


@PROVIDERS.measurement(Target(MEMORY, "KB", at_most=100), Target(THREADS, "threads", at_most=0))
def crowd(bench: Bench) -> None:
    """Sandboxes with an open line to their runner, at a provider whose machines are simulated in this process."""
    found = crowd_of(CROWD)
    bench.record(MEMORY, found.bytes_each / 1000, n=CROWD, note=f"line open and attached; {found.note}")
    bench.record(THREADS, found.threads, n=CROWD)


@PROVIDERS.measurement(Target(IMPORTED, "clients", at_most=0), Target(START_UP, "ms", ratio_at_most=1.05))
def imports(bench: Bench) -> None:
    """The application is set up with its addresses, in processes of its own."""
    found = sdks_imported()
    bench.record(IMPORTED, len(found), n=len(SDKS), note=", ".join(found) or f"looked for {', '.join(SDKS)}")
    with_extras, without = cold_import_pair()
    result = paired(with_extras, without, rounds=bench.rounds(20, 5), warm_up=1, clock_ns=children_cpu_ns)
    note = "processor time, on which other work of the machine has little influence"
    bench.record(START_UP, p50(result.subject_ms), reference=p50(result.reference_ms), n=result.n, note=note)


def storm_bar(name: str, what: str) -> str:
    return f"{name} storm: {what}"


STORM_SESSIONS = 200
STORM_COUNTS = ("sessions stuck", "sessions with a wrong or broken record", "sandboxes left")


def _storm_at(name: str) -> None:
    def storm(bench: Bench) -> None:
        """Faults of every kind under whole sessions. What is left is counted by the vendor's server."""
        places = from_tests("places")
        sessions = bench.rounds(STORM_SESSIONS, 10)
        with scratch_database():
            found = places.storm(name, sessions, seed=20261124)
            measuring.drop_kept()
        for each in (*found.stuck, *found.wrong):
            bench.say(each)
        ended = ", ".join(f"{count} {status}" for status, count in sorted(found.ended.items()))
        counts = len(found.stuck), len(found.wrong), found.sandboxes_left
        for what, count in zip(STORM_COUNTS, counts, strict=True):
            bench.record(storm_bar(name, what), count, n=sessions, note=f"{ended}; {found.sandboxes_made} sandboxes")

    storm.__name__ = f"storm_{name}"
    PROVIDERS.measurement(*(Target(storm_bar(name, each), "", at_most=0) for each in STORM_COUNTS))(storm)


for _name in VENDORS:
    _storm_at(_name)


def _measured(bench: Bench, provider: Any, spec: Spec, name: str, source: str, rounds: int) -> Timings:
    measuring_it = measure(provider, spec, name=name, source=source, rounds=rounds, say=bench.say)
    return aio.run(measuring_it, timeout_s=PATIENCE_S)


def _write(bench: Bench, name: str) -> None:
    """To the catalogue. Quick rounds try out the benchmark, and the catalogue is no place for those."""
    if bench.quick:
        measuring.drop_kept()
    else:
        bench.say(f"{name}: {measuring.write_kept()} measurements written to the catalogue")


@contextmanager
def _rig(name: str) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="rlmweb-providers-") as folder,
        from_tests("wire.rig").open_rig(name, Path(folder)) as rig,
    ):
        yield rig
