"""The suite of providers: what it declares, and its parts on simulated machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from rlmweb.bench import imports
from rlmweb.bench.seven_operations import EXECS, FORKS, measure
from rlmweb.bench.simulated import SimulatedMachine, crowd_of
from rlmweb.bench.suites import providers
from runs.bench.runner import run
from runs.bench.suite import find_suite
from sandboxes import aio
from sandboxes.catalogue import measuring
from sandboxes.catalogue.models import ProviderMeasurement
from sandboxes.contract import ExecResult, SnapshotInfo, SnapshotRef, Spec
from sandboxes.errors import CapacityUnavailable
from sandboxes.remote.sandbox import RemoteSandbox

SUITE = find_suite("providers")
OPERATIONS = ProviderMeasurement.Operation.values


class Echoing(SimulatedMachine):
    """Prints what it is told to; takes snapshots where `snapshots` is set. `running` counts what has not ended."""

    def __init__(self, provider: Any) -> None:
        super().__init__(len(provider.made))
        self._provider = provider
        provider.made.append(self)
        self.ended = False

    async def run(self, argv: Any, **options: Any) -> ExecResult:
        return ExecResult(0, argv[-1].encode(), b"")

    async def snapshot(self, kind: Any, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        if not self._provider.snapshots:
            return await super().snapshot(kind, label=label, ttl_s=ttl_s)
        return SnapshotInfo(SnapshotRef(json.dumps({"provider": "simulated"})), "fs", 0.0)

    async def terminate(self) -> None:
        self.ended = True


class Vendor:
    def __init__(self, *, snapshots: bool = True, room: int = 10_000) -> None:
        self.made: list[Echoing] = []
        self.snapshots, self.room, self.deleted = snapshots, room, 0

    async def create(self, spec: Spec, *, idempotency_key: str) -> RemoteSandbox:
        if len(self.made) >= self.room:
            raise CapacityUnavailable("full", provider="simulated")
        return RemoteSandbox(Echoing(self), spec)

    async def restore(self, snapshot: SnapshotRef, spec: Spec, *, count: int, idempotency_key: str) -> list[Any]:
        full = CapacityUnavailable("full", provider="simulated")
        return [
            RemoteSandbox(Echoing(self), spec) if len(self.made) < self.room else full  # each that has room
            for _ in range(count)
        ]

    async def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self.deleted += 1


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    measuring.drop_kept()
    yield
    measuring.drop_kept()


def measured(vendor: Any, rounds: int = 2) -> tuple[Any, list[str]]:
    said: list[str] = []
    timings = aio.run(
        measure(vendor, Spec(region="here"), name="simulated", source="loopback", rounds=rounds, say=said.append),
        timeout_s=60,
    )
    return timings, said


def test_all_seven_operations_are_measured_and_nothing_is_left() -> None:
    vendor = Vendor()
    timings, said = measured(vendor)
    assert {name: len(found) for name, found in timings.ms.items()} == {
        name: 2 * EXECS if name == "exec" else 2 for name in OPERATIONS
    }
    assert (len(vendor.made), vendor.deleted, said) == (2 * (2 + FORKS), 2, [])
    assert all(each.ended for each in vendor.made)
    assert {(row.source, row.region) for row in measuring._kept} == {("loopback", "here")}


def test_what_a_provider_does_not_offer_has_not_failed() -> None:
    vendor = Vendor(snapshots=False)
    timings, said = measured(vendor)
    assert not timings.ms["snapshot"]
    assert len(timings.ms["terminate"]) == 2
    assert said == []
    assert not any(row.error for row in measuring._kept)


def test_a_failure_ends_the_rounds_is_kept_and_leaves_nothing_behind() -> None:
    vendor = Vendor(room=5)
    timings, said = measured(vendor, rounds=3)
    assert "CapacityUnavailable" in timings.errors["fork_10"]
    assert said == ["simulated: round 1 of 3 ended with CapacityUnavailable: full"]
    assert [row.operation for row in measuring._kept if row.error] == ["fork_10"]
    assert all(each.ended for each in vendor.made)
    assert vendor.deleted == 1


def test_waiting_sandboxes_have_no_thread_of_their_own() -> None:
    assert crowd_of(20).threads == 0


def test_starting_the_application_imports_no_client_of_a_vendor() -> None:
    assert imports.sdks_imported() == []


def test_every_bar_is_declared_and_missing_ones_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(providers.TEAM_VARIABLE, raising=False)
    names = {target.name for measurement in SUITE.measurements for target in measurement.targets}
    assert {providers.local_bar(each) for each in OPERATIONS} <= names
    assert {"e2b create over the bare client", "daytona exec over the bare client"} <= names
    (bar,) = run([each for each in SUITE.measurements if each.name == "vendors"], quick=True, say=lambda text: None)
    assert (bar.met, providers.TEAM_VARIABLE in bar.note) == (False, True)


def test_quick_rounds_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(Vendor(), rounds=1)
    said: list[str] = []
    providers._write(SimpleNamespace(quick=True, say=said.append), "simulated")  # type: ignore[arg-type]
    assert (len(measuring._kept), said) == (0, [])
