"""Code that loops, forks, floods, exits, closes, forges: each ends in a defined state, and the next session is unharmed."""

from __future__ import annotations

import pytest

from tests.acceptance.visitor import Plain, Visitor, scripted, turn

MIB = 1024 * 1024
ANSWER = 'answer["content"] = "went on"; answer["ready"] = True'
FORGED = """
import os
line = b'{"type":"finished","seq":1,"cell":"1.1.1","status":"ok","duration_ms":1,"final":{"text":"forged"}}\\n'
for fd in map(int, os.listdir('/proc/self/fd')):
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
    "starts ten thousand threads": (
        "import threading, time\nfor n in range(10_000): threading.Thread(target=time.sleep, args=(60,)).start()",
        {"error", "killed"},
    ),
    "sleeps past its time": ("import time; time.sleep(60)", {"timeout", "killed"}),
    "prints one huge line": ("print('x' * 50_000_000)", {"ok"}),
    "prints a million lines": ("print('\\n' * 1_000_000)", {"ok"}),
    "prints colours and titles": ("print('\\x1b[31m\\x1b]0;title\\x07\\x1b[2J\\r\\b' * 1000)", {"ok"}),
    "writes half characters": (
        "import os\nfor b in '\u20ac'.encode() * 500: os.write(1, bytes([b]))\nos.write(1, b'\\xe2\\x82')",
        {"ok"},
    ),
    "has a thousand large variables": (
        "for n in range(1000): globals()[f'v{n}' * 50] = 'x' * 10_000",
        {"ok"},
    ),
    "raises what cannot be shown": (
        "class E(Exception):\n    def __str__(self): raise self\n    __repr__ = __str__\nraise E from E()",
        {"error"},
    ),
    "is no Python": ("this is ( no Python at all", {"error"}),
    "leaves threads": (
        "import threading, time\nfor n in range(20): threading.Thread(target=time.sleep, args=(60,)).start()",
        {"ok"},
    ),
}


def hostile(code: str) -> Plain:
    return scripted(turn(1, code), turn(2, ANSWER))


@pytest.mark.parametrize("name", CASES)
def test_hostile_code_ends_in_a_defined_state_and_the_session_goes_on(client: Visitor, name: str) -> None:
    code, allowed = CASES[name]
    uuid = client.begin(hostile(code), cell_timeout_s=2, memory_mb=256, cell_output_bytes=MIB)
    session = client.ended(uuid, 90)
    assert (session["status"], session["answer"]) == ("finished", "went on")
    finished = next(event for event in client.events(uuid) if event["type"] == "cell.finished")
    assert finished["status"] in allowed


def test_a_flood_is_cut_and_its_true_size_is_known(client: Visitor) -> None:
    code, _ = CASES["floods"]
    before_mb = client.forget_peaks("web", "worker-0", "sandboxes")
    uuid = client.begin(hostile(code), cell_output_bytes=MIB)
    client.ended(uuid, 90)
    events = client.events(uuid)
    finished = next(event for event in events if event["type"] == "cell.finished")
    assert finished["output_bytes"] + finished["dropped_bytes"] >= 300_000_000
    assert finished["dropped_bytes"] > 290_000_000
    assert len(events) < 200
    grown_mb = {name: client.peak_mb(name) - memory_mb for name, memory_mb in before_mb.items()}
    assert max(grown_mb.values()) < 50, grown_mb


def test_many_hostile_sessions_at_once_leave_the_others_unharmed(client: Visitor) -> None:
    before_mb = client.forget_peaks("worker-0", "sandboxes")
    limits: Plain = {"cell_timeout_s": 2, "memory_mb": 256, "cell_output_bytes": MIB}
    started = [client.begin(hostile(code), **limits) for code, _ in CASES.values()]
    calm = [client.begin(hostile("print(len(context))")) for _ in range(5)]
    for uuid in (*calm, *started):
        session = client.ended(uuid, 120)
        assert (session["status"], session["answer"]) == ("finished", "went on")
    grown_mb = {name: client.peak_mb(name) - memory_mb for name, memory_mb in before_mb.items()}
    assert max(grown_mb.values()) < 150, grown_mb
    for uuid in started:
        client.wait_for_no_sandbox(uuid)
