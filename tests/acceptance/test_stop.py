"""Stopping: at once, for good, for a session or for one subtree."""

from __future__ import annotations

from rlmweb.bench.outside import log_faults, wait_until
from rlmweb.bench.suites.steps import Client

SLOW_TREE = {"options": {"depth": 3, "nodes": 15, "latency_ms": 4000}}


def count(client: Client, uuid: str, kind: str) -> int:
    sql = (
        "SELECT count(*) FROM runs_event e JOIN runs_session s ON s.id = e.session_id"
        " WHERE s.uuid::text = %s AND e.type = %s"
    )
    return int(client.rows(sql, uuid, kind)[0][0])


def test_a_stopped_session_starts_nothing_any_more_and_leaves_no_sandbox(client: Client) -> None:
    uuid = client.start("deep_tree", SLOW_TREE, max_depth=8)
    wait_until("children", lambda: count(client, uuid, "node.started") > 2, 60)
    assert client.call("POST", f"/sessions/{uuid}/stop", {}) == {"stopped": True}
    assert client.call("POST", f"/sessions/{uuid}/stop", {}) == {"stopped": False}
    assert client.statuses([uuid]) == {uuid: "stopped"}
    events = client.events(uuid)
    assert log_faults(events) == []
    assert events[-1]["type"] == "session.finished"
    running = "SELECT count(*) FROM sandboxes_sandboxrecord WHERE state = 'running' AND session_uuid::text = %s"
    wait_until("its sandboxes end", lambda: client.rows(running, uuid)[0][0] == 0, 30)
    # Whoever was at work on it has noticed by the next heartbeat and written nothing.
    after = client.start("hundred_steps", {"options": {"steps": 20}})
    client.wait_for([after], 60)
    assert len(client.events(uuid)) == len(events)


def test_a_stopped_subtree_answers_its_parent_with_an_error_and_the_session_goes_on(client: Client) -> None:
    code = "reply = rlm_query('think for long')\nanswer['content'] = reply\nanswer['ready'] = True"
    rules = [
        {"when": {"kind": "turn", "depth": 0}, "reply": f"```repl\n{code}\n```"},
        {"when": {"kind": "turn", "depth": 1}, "reply": "```repl\nprint(1)\n```", "latency_ms": 60_000},
    ]
    uuid = client.start("inline", {"script": {"rules": rules, "default": {"reply": "?"}}}, max_depth=4)
    wait_until("the child", lambda: count(client, uuid, "node.started") == 2, 60)
    wait_until("its call", lambda: count(client, uuid, "lm.started") == 2, 60)
    assert client.call("POST", f"/sessions/{uuid}/stop", {"node": 1}) == {"stopped": True}
    assert client.wait_for([uuid], 60) == {uuid: "finished"}
    assert client.answer(uuid).startswith("Error:")
    assert log_faults(client.events(uuid)) == []
