"""The seven operations of a provider, timed through the contract: what a session's sandboxes wait for."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from runs.bench.stats import p50, p95
from sandboxes.catalogue import measuring
from sandboxes.catalogue.measuring import Operation
from sandboxes.contract import Provider, Sandbox, SnapshotRef, Spec
from sandboxes.errors import SandboxError, Unsupported

EXECS = 5
FORKS = 10
EXEC_TIMEOUT_S = 60.0
ROUND_TIMEOUT_S = 900.0
LABELS = {"purpose": "bench"}


@dataclass
class Timings:
    """`ms` by operation, of what succeeded; `errors` by operation: what the last failure said."""

    provider: str
    source: str
    region: str = ""
    ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def timed(self, operation: str) -> AsyncIterator[None]:
        """Measures the block and keeps the result for the catalogue as well. An error goes on."""
        began = time.perf_counter()
        try:
            yield
        except SandboxError as error:
            self.errors[operation] = f"{type(error).__name__}: {error}"
            if not isinstance(error, Unsupported):  # what a provider does not offer has not failed
                self._keep(operation, began, type(error).__name__)
            raise
        self.ms[operation].append(self._keep(operation, began))

    def _keep(self, operation: str, began: float, error: str = "") -> float:
        ms = (time.perf_counter() - began) * 1000
        measuring.keep(self.provider, operation, ms, region=self.region, source=self.source, error=error)
        return ms

    def line(self) -> str:
        """For people: p50 and p95 of each operation."""
        parts = [
            f"{operation} {p50(found):.1f}/{p95(found):.1f} (n {len(found)})" if (found := self.ms[operation]) else
            f"{operation} - ({self.errors.get(operation, 'not reached')[:80]})"
            for operation in Operation.values
        ]  # fmt: skip
        return f"{self.provider}, p50/p95 in ms: " + ", ".join(parts)


async def measure(
    provider: Provider, spec: Spec, *, name: str, source: str, rounds: int, say: Callable[[str], None]
) -> Timings:
    """Rounds one after the other, each with a sandbox of its own. Nothing is left behind: what was made is ended, and a
    snapshot deleted, whatever failed. A round that fails ends the measurement of this provider."""
    timings = Timings(name, source, spec.region)
    for number in range(rounds):
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                await _round(provider, spec, timings)
        except (SandboxError, TimeoutError) as error:
            say(f"{name}: round {number + 1} of {rounds} ended with {type(error).__name__}: {error}")
            break
    return timings


async def _round(provider: Provider, spec: Spec, timings: Timings) -> None:
    made: list[Sandbox] = []
    snapshot: SnapshotRef | None = None
    try:
        async with timings.timed(Operation.FIRST_OUTPUT):
            async with timings.timed(Operation.CREATE):
                sandbox = await provider.create(spec, idempotency_key=f"bench-{uuid4().hex}")
                made.append(sandbox)
            await _echo(sandbox)
        for _ in range(EXECS):
            async with timings.timed(Operation.EXEC):
                await _echo(sandbox)
        snapshot = await _snapshot(sandbox, timings)
        if snapshot is not None:
            await _restores(provider, snapshot, spec, timings, made)
        async with timings.timed(Operation.TERMINATE):
            await sandbox.terminate()
    finally:
        for ended in await asyncio.gather(*(each.terminate() for each in made), return_exceptions=True):
            if isinstance(ended, BaseException):  # the others are ended all the same
                timings.errors["clean_up"] = f"{type(ended).__name__}: {ended}"
        if snapshot is not None:
            await provider.delete_snapshot(snapshot)


async def _echo(sandbox: Sandbox) -> None:
    done = await sandbox.exec(["echo", "there"], timeout_s=EXEC_TIMEOUT_S)
    if done.exit_code or done.stdout.strip() != b"there":
        raise SandboxError(f"echo ended with {done.exit_code}: {done.stderr[-200:]!r}")


async def _snapshot(sandbox: Sandbox, timings: Timings) -> SnapshotRef | None:
    """The provider's own. None where it offers none."""
    try:
        async with timings.timed(Operation.SNAPSHOT):
            return (await sandbox.snapshot("fs", label="bench")).ref
    except Unsupported:
        return None


async def _restores(
    provider: Provider, snapshot: SnapshotRef, spec: Spec, timings: Timings, made: list[Sandbox]
) -> None:
    """One sandbox of the snapshot, and ten at once; all of them go to `made`."""
    for operation, count in ((Operation.RESTORE, 1), (Operation.FORK_10, FORKS)):
        async with timings.timed(operation):
            found = await provider.restore(snapshot, spec, count=count, idempotency_key=f"bench-{uuid4().hex}")
            made += [each for each in found if not isinstance(each, SandboxError)]
            if failed := [each for each in found if isinstance(each, SandboxError)]:
                raise failed[0]
