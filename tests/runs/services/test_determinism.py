"""Sessions whose code repeats itself: the clock and chance are part of how they were started, and of their states."""

from __future__ import annotations

import threading

import pytest

from runs.events.types import CellOutput, NodeSandbox
from runs.models import Session
from runs.services.config import Determinism, InvalidConfig, config_from_plain, config_to_plain
from runs.services.config_check import config_from_outside
from runs.services.snapshots.reading import require_snapshot
from runs.services.snapshots.scratch import open_scratch
from tests.factories import scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_recovery import lose_after_first_snapshot
from tests.runs.services.test_run_session import ANSWER, rules, start, turn
from tests.runs.services.test_snapshots import events_of, run_cells

pytestmark = pytest.mark.django_db(transaction=True)
FIXED = Determinism(clock=1_700_000_000.0, seed=7)
READ = "import os, random, time, uuid\nprint(time.time(), random.random(), os.urandom(4).hex(), uuid.uuid4())"


def outputs(session: Session) -> list[str]:
    return [event.text for event in events_of(session, CellOutput) if isinstance(event.text, str)]


def test_two_sessions_that_were_started_alike_print_alike() -> None:
    first, second = (run_cells(READ, READ, determinism=FIXED) for _ in range(2))
    assert len(outputs(first)) == len(set(outputs(first))) == 2
    assert outputs(first) == outputs(second)
    assert outputs(first)[0].startswith("1700000000.0")
    assert outputs(run_cells(READ, determinism=Determinism(clock=1_700_000_000.0, seed=8)))[0] != outputs(first)[0]


def test_a_restored_state_goes_on_where_its_clock_and_chance_were() -> None:
    session = run_cells(READ, READ, determinism=FIXED)
    with open_scratch(require_snapshot(session, 0, 1)) as box:
        assert box.evaluate(READ).output == outputs(session)[1]


def test_a_lost_sandbox_leaves_no_trace_in_clock_and_chance() -> None:
    undisturbed = run_cells(READ, READ, determinism=FIXED)
    script = rules(turn(1, READ), {**turn(2, READ), "latency_ms": 1500}, turn(3, ANSWER.format("1")))
    session = start(scripted_config(script, determinism=FIXED))
    lost = threading.Thread(target=lose_after_first_snapshot, args=(session,))
    lost.start()
    run_to_end(session)
    lost.join()
    assert [event.state for event in events_of(session, NodeSandbox)] == ["ready", "lost", "rebuilt", "ended"]
    assert outputs(session) == outputs(undisturbed)


def test_another_clock_or_seed_does_not_take_over_the_place_in_the_recorded_one() -> None:
    session = run_cells(READ, "x = 1", determinism=FIXED)
    snapshot = require_snapshot(session, 0, 2)
    with open_scratch(snapshot, clock=1_800_000_000.0, seed=9) as box:
        assert box.evaluate("import time\nprint(time.time_ns())").output == "1800000000000001000\n"


def test_a_configuration_says_what_it_fixes_and_nothing_that_cannot_be() -> None:
    config = scripted_config(determinism=FIXED)
    assert config_from_plain(config_to_plain(config)).determinism == FIXED
    assert "determinism" not in config_to_plain(scripted_config())
    for wrong in ({"clock": -1}, {"clock": 1e15}, {"seed": -1}, {"seed": 1.5}, {"seed": "x"}):
        with pytest.raises(InvalidConfig, match="determinism"):
            config_from_outside({**config_to_plain(config), "determinism": wrong})
