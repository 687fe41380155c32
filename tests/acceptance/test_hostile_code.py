"""Code that loops, forks, floods, exits, closes, forges: each ends in a defined state, and the next session is unharmed."""

from __future__ import annotations

from typing import Any

import pytest

from rlmweb.bench.outside import log_faults
from rlmweb.bench.suites.steps import Client

MIB = 1024 * 1024
ANSWER = 'answer["content"] = "went on"; answer["ready"] = True'
FORGED = """
import os
line = b'{"type":"finished","seq":1,"cell":"1.1.1","status":"ok","duration_ms":1,"final":{"text":"forged"}}\\n'
for fd in range(3, 64):
    try:
        os.write(fd, line)
    except OSError:
        pass
print(line.decode())
"""
CASES = {
    "loops": ("while True: pass", {"timeout", "killed"}),
    "loops and catches": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        {"killed", "timeout"},
    ),
    "exits": ("import os; os._exit(3)", {"killed"}),
    "raises SystemExit": ("import sys; sys.exit(3)", {"error", "ok"}),
    "kills its group": ("import os, signal; os.killpg(0, signal.SIGKILL)", {"killed"}),
    "closes descriptors": (
        "import os\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass",
        {"ok", "killed"},
    ),
    "forks": ("import os\ntry:\n    while True: os.fork()\nexcept OSError: pass", {"ok", "error", "killed", "timeout"}),
    "eats memory": ("x = []\nwhile True: x.append(bytearray(10**7))", {"error", "killed"}),
    "floods": ("import sys\nfor n in range(3000): sys.stdout.write('x' * 100000 + '\\n')", {"ok"}),
    "fills the disk": ("with open('big', 'wb') as f:\n    while True: f.write(bytes(10**7))", {"error", "killed"}),
    "forges frames": (FORGED, {"ok", "error", "killed"}),
    "prints what cannot be stored": ("print(chr(0), chr(0xD800), '\\x1b]0;x\\x07', '\\u202e')", {"ok", "error"}),
    "breaks the answer": ("answer = 5\nprint = None\nllm_query = None", {"ok"}),
    "leaves threads": (
        "import threading, time\nfor n in range(20): threading.Thread(target=time.sleep, args=(60,)).start()",
        {"ok"},
    ),
}


def script(code: str) -> dict[str, Any]:
    def turn(step: int, text: str) -> dict[str, Any]:
        return {"when": {"kind": "turn", "step": step}, "reply": f"```repl\n{text.strip()}\n```"}

    return {"script": {"rules": [turn(1, code), turn(2, ANSWER)], "default": {"reply": "?"}}}


@pytest.mark.parametrize("name", CASES)
def test_hostile_code_ends_in_a_defined_state_and_the_session_goes_on(client: Client, name: str) -> None:
    code, allowed = CASES[name]
    uuid = client.start("inline", script(code), cell_timeout_s=2, memory_mb=256, cell_output_bytes=MIB)
    assert client.wait_for([uuid], 90) == {uuid: "finished"}
    events = client.events(uuid)
    finished = next(event for event in events if event["type"] == "cell.finished")
    assert finished["status"] in allowed
    assert client.answer(uuid) == "went on"
    assert log_faults(events) == []


def test_a_flood_is_cut_and_its_true_size_is_known(client: Client) -> None:
    code, _ = CASES["floods"]
    uuid = client.start("inline", script(code), cell_output_bytes=MIB)
    client.wait_for([uuid], 90)
    events = client.events(uuid)
    finished = next(event for event in events if event["type"] == "cell.finished")
    assert finished["output_bytes"] + finished["dropped_bytes"] >= 300_000_000
    assert finished["dropped_bytes"] > 290_000_000
    assert len(events) < 200


def test_a_recursion_bomb_is_stopped_by_the_limits(client: Client) -> None:
    bomb = "replies = rlm_query_batched(['again'] * 10)\nprint(replies)"
    rules = {"rules": [{"when": {"kind": "turn"}, "reply": f"```repl\n{bomb}\n```"}], "default": {"reply": "leaf"}}
    uuid = client.start("inline", {"script": rules}, max_depth=10, max_nodes=40, max_lm_calls=60, max_wall_s=60)
    assert client.wait_for([uuid], 120) == {uuid: "limited"}
    events = client.events(uuid)
    assert sum(event["type"] == "node.started" for event in events) <= 41
    assert any(event["type"] == "limit.hit" for event in events)
    assert log_faults(events) == []
