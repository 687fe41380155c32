"""Shapes that break naive runners: many sessions, wide batches, and deep trees on one slot of one worker."""

from __future__ import annotations

import pytest

from rlmweb.boot.stack import Stack
from tests.acceptance.visitor import Plain, Visitor


def built_in(name: str, **options: object) -> Plain:
    return {"api": "scripted", "model": f"scripted:{name}", "extra": {"options": options}}


def test_twenty_sessions_at_once_all_come_to_the_right_answer(client: Visitor) -> None:
    uuids = [client.begin(built_in("hundred_steps", steps=8)) for _ in range(20)]
    for uuid in uuids:
        assert client.ended(uuid, 120)["answer"] == "36"


def test_a_wide_batch_is_answered_in_order(client: Visitor) -> None:
    uuid = client.begin(built_in("fan_out", calls=300, latency_ms=10))
    session = client.ended(uuid, 90)
    assert session["answer"] == str(sum(range(300)))
    assert session["usage"]["lm_calls"] == 301


def test_a_flaky_endpoint_changes_no_answer(client: Visitor) -> None:
    retry = {"first_delay_s": 0.02, "max_delay_s": 0.2}
    model = built_in("flaky", steps=3, calls=20)
    model["extra"]["retry"] = retry
    session = client.ended(client.begin(model), 90)
    assert session["answer"] == str(3 * sum(range(20)))
    assert session["usage"]["lm_calls_failed"] == 0


def test_a_deep_tree_needs_one_slot_of_one_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Stack(tmp_path_factory.mktemp("one-slot") / "installation", threads=1) as stack:
        client = Visitor.of(stack)
        uuid = client.begin(built_in("deep_tree", depth=5, nodes=60), max_depth=8)
        session = client.ended(uuid, 120)
        assert session["answer"] == "60"
        assert session["usage"]["nodes"] == 60
        assert {event["depth"] for event in client.events(uuid) if event["type"] == "node.started"} == set(range(6))
        client.wait_for_no_sandbox(uuid, 10)
