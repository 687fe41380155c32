"""Workers and sandboxes die by SIGKILL while branches are forked, run and scored: every branch is there once, and scored."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest

from rlmweb.bench.kills import kill_stack
from rlmweb.bench.outside import FINAL, Outside, log_faults, wait_until

KILLS = 6
VICTIMS = ("worker-0", "worker-1", "sandboxes")
STEPS = [0, 2, 4]
BRANCHES = 4
SCORER = {"kind": "python", "source": "def score(answer, expected, question):\n    return bool(answer)"}


def test_every_branch_is_forked_once_and_scored_while_processes_die(tmp_path_factory: pytest.TempPathFactory) -> None:
    chance = random.Random(11)
    with kill_stack(tmp_path_factory.mktemp("rollouts") / "stack") as stack:
        outside = Outside(stack.address, stack.token, stack.database_url)
        context = outside.call("POST", "/contexts", {"name": "lines.txt", "text": "one\ntwo\n" * 1000})["uuid"]
        options = {"steps": 6, "latency_ms": 150}
        root = {"api": "scripted", "model": "scripted:hundred_steps", "extra": {"options": options}}
        body = {"question": "How many?", "context": context, "config": {"root": root}}
        source = outside.call("POST", "/sessions", body)["uuid"]
        assert outside.wait_for([source], timeout_s=120) == {source: "finished"}
        asked = {"steps": STEPS, "branches": BRANCHES, "scorer": SCORER}
        rollout = outside.call("POST", f"/sessions/{source}/rollouts", asked)["uuid"]

        def branches() -> list[tuple[object, ...]]:
            return outside.rows(
                "SELECT b.step_number, b.index, s.uuid::text, s.status, b.score, b.note FROM runs_rolloutbranch b"
                " LEFT JOIN runs_session s ON s.id = b.session_id ORDER BY 1, 2"
            )

        for _ in range(KILLS):
            wait_until("branches that run", lambda: any(row[2] for row in branches()), 60)
            # Kills fall anywhere in a branch's life: between two of them a random time passes.
            pause_ends = time.monotonic() + chance.uniform(0.2, 2.0)
            wait_until("a moment", partial(_is_past, pause_ends), 10)
            victim = chance.choice(VICTIMS)
            stack.kill(victim)
            stack.restart(victim, wait=False)
        over = wait_until("the rollout", lambda: _over(outside, rollout), 300)

        assert over["status"] == "finished"
        found = branches()
        assert [row[:2] for row in found] == [(step, index) for step in STEPS for index in range(1, BRANCHES + 1)]
        assert {row[3] for row in found} <= FINAL
        assert [(row[3], row[4], row[5]) for row in found] == [("finished", 1.0, "")] * len(found)
        made = outside.rows("SELECT uuid::text FROM runs_session WHERE origin ->> 'rollout' = %s", rollout)
        assert sorted(uuid for (uuid,) in made) == sorted(str(row[2]) for row in found)
        faults = {row[2]: log_faults(outside.events(str(row[2]))) for row in found}
        assert {uuid: found for uuid, found in faults.items() if found} == {}


def _is_past(moment: float) -> bool:
    return time.monotonic() >= moment


def _over(outside: Outside, rollout: str) -> dict[str, object] | None:
    found: dict[str, object] = outside.patiently("GET", f"/rollouts/{rollout}")
    return found if found["status"] != "running" else None
