"""Stopping: at once, for good, for a session or for one subtree."""

from __future__ import annotations

import time

from rlmweb.bench.outside import wait_until
from tests.acceptance.visitor import Plain, Visitor, cell, scripted, turn

BEGINNINGS = {"node.started", "step.started", "lm.started", "cell.started", "subcall.opened"}
SPIN = "while True: pass"
DEEPER = "reply = rlm_query_batched(['further', 'further'])\nprint(reply)"


def at_depth(depth: int, code: str, **then: object) -> Plain:
    return {"when": {"kind": "turn", "depth": depth}, "reply": cell(code), **then}


# A tree of 15 nodes: the inner ones wait for their children, the eight leaves run for ever.
BUSY_TREE = scripted(*(at_depth(depth, DEEPER) for depth in range(3)), at_depth(3, SPIN))


def test_a_stopped_tree_is_over_at_once_and_its_sandboxes_within_seconds(client: Visitor) -> None:
    uuid = client.begin(BUSY_TREE, max_depth=5, cell_timeout_s=300)
    client.wait_for_events(uuid, "node.started", 15)
    wait_until("running sandboxes", lambda: len(client.sandboxes({"session": uuid})) > 4, 30)
    asked = time.monotonic()
    assert client.call("POST", f"/sessions/{uuid}/stop", {}) == {"stopped": True}
    assert client.session(uuid)["status"] == "stopped"
    events = client.events(uuid)
    assert client.faults(uuid) == []
    requested = next(n for n, event in enumerate(events) if event["type"] == "session.stop_requested")
    assert [event["type"] for event in events[requested:] if event["type"] in BEGINNINGS] == []
    assert events[-1]["type"] == "session.finished"
    client.wait_for_no_sandbox(uuid, 10)
    # Workers that were at it have noticed by the next heartbeat; nothing was written after the end.
    wait_until("two heartbeats", lambda: time.monotonic() > asked + 7, 10)
    assert len(client.events(uuid)) == len(events)
    client.goes_on()


def test_stopping_again_does_nothing(client: Visitor) -> None:
    uuid = client.begin(scripted(turn(None, SPIN)), cell_timeout_s=300)
    client.wait_for_events(uuid, "cell.started")
    answers = [client.call("POST", f"/sessions/{uuid}/stop", {}) for _ in range(3)]
    assert answers == [{"stopped": True}, {"stopped": False}, {"stopped": False}]
    assert client.count(uuid, "session.finished") == 1
    assert client.faults(uuid) == []


def test_a_session_that_nobody_works_on_yet_can_be_stopped(client: Visitor) -> None:
    # More sessions than the worker has threads: the last ones wait for a worker.
    slow = scripted({"when": {"kind": "turn"}, "reply": cell(SPIN)})
    uuids = [client.begin(slow, cell_timeout_s=300) for _ in range(8)]
    for uuid in reversed(uuids):
        assert client.call("POST", f"/sessions/{uuid}/stop", {}) == {"stopped": True}
    for uuid in uuids:
        assert client.ended(uuid, 10)["status"] == "stopped"
        client.wait_for_no_sandbox(uuid, 10)
    client.goes_on()


def test_a_stopped_subtree_answers_its_parent_with_an_error_and_the_session_goes_on(client: Visitor) -> None:
    code = "replies = rlm_query_batched(['deep', 'short'])\nanswer['content'] = replies; answer['ready'] = True"
    either = "if context == 'short': FINAL('done')\nelse: print(rlm_query_batched(['further', 'further']))"
    model = scripted(at_depth(0, code), at_depth(1, either), at_depth(2, SPIN))
    uuid = client.begin(model, max_depth=4, cell_timeout_s=300)
    client.wait_for_events(uuid, "node.started", 5)
    assert client.call("POST", f"/sessions/{uuid}/stop", {"node": 1}) == {"stopped": True}
    assert client.call("POST", f"/sessions/{uuid}/stop", {"node": 1}) == {"stopped": False}
    session = client.ended(uuid)
    assert session["status"] == "finished"
    assert session["answer"] == "['Error: the sub-call was stopped', 'done']"
    ended = {event["node"]: event["status"] for event in client.events(uuid) if event["type"] == "node.finished"}
    assert ended == {0: "finished", 1: "stopped", 2: "finished", 3: "stopped", 4: "stopped"}
    client.wait_for_no_sandbox(uuid, 10)
