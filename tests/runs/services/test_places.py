"""Whole sessions at vendors, each over its own wire: run, snapshot, lose, fork to another provider, find room elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rlmweb.bench.outside import log_faults, wait_until
from runs.models import Session
from runs.services.config import InvalidConfig
from runs.services.snapshots.reading import require_snapshot
from runs.services.snapshots.scratch import open_scratch
from sandboxes import aio
from sandboxes import services as sandbox_services
from sandboxes.accounts import opening
from sandboxes.models import ProviderAccount, SandboxRecord, Snapshot
from sandboxes.needs import Needs
from tests.factories import scripted_config
from tests.places import AT, SCRIPT, config_at, in_place, nothing_left, start, steps_open, storm, team_at
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import log
from tests.wire.faults import Fault
from tests.wire.rig import Rig, open_rig

pytestmark = pytest.mark.django_db(transaction=True)
OpenVendor = Callable[[str], Rig]


@pytest.fixture
def open_vendor(tmp_path: Path) -> Iterator[OpenVendor]:
    rigs: dict[str, Rig] = {}
    with ExitStack() as stack:
        stack.enter_context(in_place(rigs))

        def open_one(name: str) -> Rig:
            (tmp_path / name).mkdir()
            rigs[name] = stack.enter_context(open_rig(name, tmp_path / name))
            return rigs[name]

        yield open_one


@pytest.mark.parametrize("name", AT)
def test_a_session_runs_saves_each_step_and_leaves_nothing(name: str, open_vendor: OpenVendor) -> None:
    rig = open_vendor(name)
    team = team_at(name)
    session = run_to_end(start(team, config_at(name, rig)))
    assert (session.status, session.answer) == ("finished", "[6, '?']"), session.error_message
    assert log_faults(log(session)) == []
    record = SandboxRecord.objects.get(session_uuid=session.uuid)
    assert (record.provider, record.account, record.state) == (
        name,
        ProviderAccount.objects.get(team=team),
        "terminated",
    )
    rows = Snapshot.objects.filter(session_uuid=session.uuid).order_by("step_number")
    assert [(row.step_number, row.provider) for row in rows] == [(1, name), (2, name), (3, name)]
    nothing_left(rig)


@pytest.mark.parametrize("name", AT)
def test_a_session_is_forked_from_one_provider_to_another(name: str, open_vendor: OpenVendor) -> None:
    rig = open_vendor(name)
    source = run_to_end(start(team_at(name), config_at(name, rig)))
    here = run_to_end(fork(source, 2, config={**source.config, "provider": "local", "sandbox": {}}))
    assert (here.status, here.answer) == ("finished", source.answer), here.error_message
    back = run_to_end(fork(here, 2, config={**source.config}))
    assert (back.status, back.answer) == ("finished", source.answer), back.error_message
    assert SandboxRecord.objects.get(session_uuid=here.uuid).provider == "local"
    assert SandboxRecord.objects.get(session_uuid=back.uuid).provider == name
    with open_scratch(require_snapshot(back, 0, 2)) as box:
        assert box.evaluate("x").value == "[6, '?']"
    nothing_left(rig)


@pytest.mark.parametrize("name", AT)
def test_where_there_is_no_room_the_next_provider_is_taken(name: str, open_vendor: OpenVendor) -> None:
    rig = open_vendor(name)
    assert rig.faults is not None
    rig.faults.no_capacity = True
    session = run_to_end(start(team_at(name), config_at(name, rig, fallback=("local",))))
    if rig.spec.network.mode == "open":  # which no local sandbox offers: it is passed over, and the reason is said
        assert (session.status, SandboxRecord.objects.filter(session_uuid=session.uuid).count()) == ("failed", 0)
        assert session.error_message
        return
    assert session.answer == "[6, '?']", session.error_message
    assert SandboxRecord.objects.get(session_uuid=session.uuid).provider == "local"
    assert {row.provider for row in Snapshot.objects.filter(session_uuid=session.uuid)} == {"local"}
    events = log(session)
    assert any(event["type"] == "log" and f"No room at {name}" in event["message"] for event in events)
    assert [event.get("provider") for event in events if event["type"] == "node.sandbox"][:1] == ["local"]


@pytest.mark.parametrize("name", AT)
def test_a_sandbox_that_nobody_noted_is_found_by_its_label_and_ended(name: str, open_vendor: OpenVendor) -> None:
    rig = open_vendor(name)
    if not rig.can("list"):
        pytest.skip(f"{name} does not declare list")
    team = team_at(name)
    aio.run(sandbox_services.create([opening.place_of(name, team)], rig.spec, "of a worker that died"), timeout_s=60)
    stranger = aio.run(rig.provider.create(rig.spec, idempotency_key="another installation's"), timeout_s=60)
    assert rig.engine is not None
    assert len(rig.engine.alive()) == 2
    assert sandbox_services.end_unknown(min_age_s=-5.0) == 1
    assert len(rig.engine.alive()) == 1
    aio.run(stranger.terminate(), timeout_s=60)


FAULTS = {
    "rate limited": [("create", Fault(429, retry_after_s=0.1))],
    "lost create reply": [("create", Fault(kind="lose_reply"))],
    "reset": [("create", Fault(kind="reset"))],
    "server error": [("create", Fault(500)), ("exec", Fault(503))],
    "stream fails": [("stream", Fault(500))],
    "malformed": [("create", Fault(kind="malformed"))],
    "terminate fails": [("terminate", Fault(500)), ("delete", Fault(500))],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", AT)
def test_no_fault_of_a_vendor_loses_a_step_or_leaves_a_sandbox(
    name: str, fault: str, open_vendor: OpenVendor, settings: Any
) -> None:
    """It ends with its answer, or with an error that says what the vendor did; nothing hangs, nothing is left over."""
    rig = open_vendor(name)
    assert rig.faults is not None
    for operation, what in FAULTS[fault]:
        rig.faults.add(operation, what)  # type: ignore[arg-type]
    seen = rig.faults.seen
    session = run_to_end(start(team_at(name), config_at(name, rig)))
    assert session.status in ("finished", "failed")
    if session.status == "finished":
        assert session.answer == "[6, '?']"
    else:
        assert session.error_message
    assert log_faults(log(session)) == []
    assert not steps_open(session)
    if (
        fault == "terminate fails"
    ):  # sandboxes are ended in the background: the fault is to be met, not taken away before
        wait_until("the vendor to be asked", lambda: {"terminate", "delete"} & set(seen), 30)
    rig.faults._queued.clear()
    sandbox_services.end_unknown(min_age_s=-5.0)
    nothing_left(rig)
    # What is known to be gone is not asked about again; what ended a moment ago is still to be confirmed.
    wait_until("the ends to be confirmed", lambda: sandbox_services.end_unknown(min_age_s=-5.0) == 0, 30)


@pytest.mark.parametrize("name", AT)
def test_sessions_in_a_storm_end_and_leave_nothing(name: str) -> None:
    """A few of what `manage.py bench providers --only storm` does with many."""
    found = storm(name, 6, seed=7)
    assert (found.stuck, found.wrong, found.sandboxes_left) == ([], [], 0)
    assert sum(found.ended.values()) == 6


def test_a_session_asks_before_it_starts(open_vendor: OpenVendor) -> None:
    rig = open_vendor(AT[0])
    team = team_at()
    with pytest.raises(InvalidConfig, match=r"provider: .* has no key"):
        start(team, config_at(AT[0], rig))
    with pytest.raises(InvalidConfig, match=r"sandbox\.gpu: this machine has no NVIDIA GPU"):
        start(team, scripted_config(SCRIPT, sandbox=Needs(gpu=("H100",))))
    assert not Session.objects.filter(team=team).exists()
