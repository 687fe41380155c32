"""What the audit log costs, and what it finds; what quotas cost, and what they hold; how soon a link ends."""

from __future__ import annotations

import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction

from rlmweb.audit.models import ChainHead
from rlmweb.audit.record import record
from rlmweb.audit.verify import verify
from rlmweb.bench.clean import clean_history
from rlmweb.bench.long_log import write_long_log
from rlmweb.bench.quotas import BOOK, OVER, RATIO, START, WRONG, quota_booking, quota_races, quota_start
from rlmweb.bench.revoking import revocations_ms
from rlmweb.bench.scratch_database import scratch_database
from rlmweb.bench.tampering import KINDS, is_found, write_log
from runs.bench.bars import Target
from runs.bench.stats import p50, p95
from runs.bench.suite import Bench, suite

GOVERNANCE = suite("governance", "The audit log, quotas and links: what they cost, and what they hold.")

APPEND = "audit: append p95 at 100 a second"
ONE_CHAIN = "audit: entries a second in one chain"
MANY_CHAINS = "audit: entries a second over 16 chains"
VERIFY = "audit: 1,000,000 entries verified"
MISSED = "tamper: of 10,000 alterations not found"
REVOKED = "links: revoked to the last byte, the longest of all"
FALSE = "tamper: false alarms over 1,000 clean histories"

RATE_HZ = 100
WRITERS = 8


def act(chain: uuid.UUID) -> None:
    record("session.stop", actor="ada", object_type="session", object_id=uuid.uuid4(), team_uuid=chain)


@GOVERNANCE.measurement(Target(APPEND, "ms", at_most=10))
def audit_append(bench: Bench) -> None:
    """The whole transaction with its commit, at a steady pace."""
    with scratch_database():
        chain, durations_ms = uuid.uuid4(), []
        act(chain)
        due = time.perf_counter()
        for _ in range(bench.rounds(3000, 200)):
            due += 1 / RATE_HZ
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            with transaction.atomic():
                act(chain)
            durations_ms.append((time.perf_counter() - began) * 1000)
    bench.record(APPEND, p95(durations_ms), n=len(durations_ms), note=f"p50 {p50(durations_ms):.1f} ms")


@GOVERNANCE.measurement(Target(ONE_CHAIN, "a second", at_least=200), Target(MANY_CHAINS, "a second", at_least=1000))
def audit_throughput(bench: Bench) -> None:
    """Eight writers at once, each entry a transaction of its own."""
    for name, count in ((ONE_CHAIN, 1), (MANY_CHAINS, 16)):
        with scratch_database():
            chains = [uuid.uuid4() for _ in range(count)]
            for chain in chains:
                act(chain)
            duration_s, written = _hammer(chains, bench.rounds(10, 2))
            assert written + count == sum(ChainHead.objects.values_list("size", flat=True)), "an entry was lost"
        bench.record(name, written / duration_s, n=written, note=f"{WRITERS} writers in threads of one process")


def _hammer(chains: list[uuid.UUID], duration_s: float) -> tuple[float, int]:
    over = threading.Event()

    def write(seed: int) -> int:
        chance, count = random.Random(seed), 0
        try:
            while not over.is_set():
                act(chance.choice(chains))
                count += 1
        finally:
            connection.close()
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, seed) for seed in range(WRITERS)]
        over.wait(duration_s)
        over.set()
        written = sum(writer.result() for writer in writers)
    return time.perf_counter() - began, written


@GOVERNANCE.measurement(Target(VERIFY, "s", at_most=20))
def audit_verify(bench: Bench) -> None:
    size = bench.rounds(1_000_000, 20_000)
    with scratch_database():
        chain = uuid.uuid4()
        write_long_log(chain, size)
        verdict = verify(chain)
    assert verdict.intact, verdict.why
    bench.record(VERIFY, verdict.duration_s, n=verdict.entries)


@GOVERNANCE.measurement(Target(MISSED, "missed", at_most=0), Target(FALSE, "alarms", at_most=0))
def tamper(bench: Bench) -> None:
    chance = random.Random(20_261_123)
    with scratch_database():
        log, kinds = write_log(12), list(KINDS)
        trials = bench.rounds(10_000, 2 * len(kinds))
        missed = [kinds[n % len(kinds)] for n in range(trials) if not is_found(log, kinds[n % len(kinds)], chance)]
        bench.record(MISSED, len(missed), n=trials, note=", ".join(sorted(set(missed))) or f"{len(kinds)} kinds")
        histories = bench.rounds(1000, 20)
        bench.record(FALSE, sum(_alarms(chance) for _ in range(histories)), n=histories)


def _alarms(chance: random.Random) -> bool:
    with transaction.atomic():
        chain, anchors = clean_history(uuid.uuid4(), chance)
        alarmed = not verify(chain, anchors).intact
        transaction.set_rollback(True)
    return alarmed


GOVERNANCE.measurement(Target(OVER, "trials", at_most=0), Target(WRONG, "balances", at_most=0))(quota_races)
GOVERNANCE.measurement(Target(START, "ms", at_most=15), Target(RATIO, "x", at_most=1.5))(quota_start)
GOVERNANCE.measurement(Target(BOOK, "ms", at_most=15))(quota_booking)


@GOVERNANCE.measurement(Target(REVOKED, "ms", at_most=2000))
def share_revocation(bench: Bench) -> None:
    """Open websockets of links, of sessions at rest and of sessions that write all the time."""
    with scratch_database():
        durations_ms = revocations_ms(bench.rounds(20, 4))
    bench.record(REVOKED, max(durations_ms), n=len(durations_ms), note=f"p50 {p50(durations_ms):.0f} ms")
