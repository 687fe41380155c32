"""Shapes that break naive runners, on one worker."""

from __future__ import annotations

from rlmweb.bench.outside import log_faults
from rlmweb.bench.suites.steps import Client


def test_twenty_sessions_at_once_all_come_to_the_right_answer(client: Client) -> None:
    uuids = [client.start("hundred_steps", {"options": {"steps": 8}}) for _ in range(20)]
    assert set(client.wait_for(uuids, 120).values()) == {"finished"}
    assert {client.answer(uuid) for uuid in uuids} == {"36"}
    assert [fault for uuid in uuids for fault in log_faults(client.events(uuid))] == []


def test_a_wide_batch_is_answered_in_order(client: Client) -> None:
    uuid = client.start("fan_out", {"options": {"calls": 300, "latency_ms": 10}})
    client.wait_for([uuid], 90)
    assert client.answer(uuid) == str(sum(range(300)))


def test_a_deep_tree_needs_no_more_slots_than_there_are(client: Client) -> None:
    uuid = client.start("deep_tree", {"options": {"depth": 5, "nodes": 40}}, max_depth=8)
    client.wait_for([uuid], 120)
    assert client.answer(uuid) == "40"
    assert log_faults(client.events(uuid)) == []
