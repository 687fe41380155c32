"""Code that attacks its sandbox: each case ends in a defined result, and the sandbox, or the one beside it, goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandboxes.frames import Output
from tests.sandboxes.service import Linked

OpenSandbox = Callable[..., Linked]

LIFE_AND_DESCRIPTORS = {
    "exit": ("import sys; sys.exit(2)", {"error"}),
    "hard exit": ("import os; os._exit(3)", {"killed"}),
    "kill itself": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", {"killed", "error"}),
    "kill the supervisor": ("import os; os.kill(os.getppid(), 9)", {"ok", "error"}),
    "stop the supervisor": ("import os; os.kill(os.getppid(), 19)", {"ok", "error"}),
    "kill everybody": ("import os; os.kill(-1, 9)", {"ok", "error", "killed"}),
    "kill its group": ("import os; os.killpg(0, 9)", {"killed", "error"}),
    "abort": ("import os; os.abort()", {"killed"}),
    "close low descriptors": ("import os\nfor d in range(10):\n  try: os.close(d)\n  except OSError: pass", {"ok"}),
    "close all descriptors": ("import os; os.closerange(0, 65536)", {"killed", "error"}),
    "close the streams": ("import sys; sys.stdout.close(); sys.stderr.close(); sys.stdin.close()", {"ok"}),
    "replace the streams": ("import sys, io; sys.stdout = io.StringIO(); sys.stderr = None; print(1)", {"ok"}),
    "run out of descriptors": ("import os\nheld = []\nwhile True: held.append(os.open('/dev/null', 0))", {"error"}),
    "forget modules": ("import sys; sys.modules.clear()", {"ok", "error", "killed"}),
    "break builtins": (
        "import builtins\nfor name in dir(builtins):\n  if name[0].islower(): setattr(builtins, name, None)",
        {"ok", "error", "killed"},
    ),
    "deep recursion": ("import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()", {"killed", "error"}),
    "shallow recursion": ("import sys; sys.setrecursionlimit(30)", {"ok", "error"}),
    "trace": ("import sys, threading\nsys.settrace(lambda *a: 1/0); sys.setprofile(lambda *a: 1/0)", {"ok", "error"}),
    "timer": ("import signal; signal.signal(14, lambda *a: 1/0); signal.setitimer(0, 0.01, 0.01)", {"ok", "error"}),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", {"killed"}),
    "fork into the next cell": ("import os\nif os.fork() == 0: x = 1\nelse: os.wait()", {"ok"}),
    "raise from repr of the answer": (
        "class A:\n  def __str__(self): raise SystemExit\nanswer['content'] = A(); answer['ready'] = True",
        {"error"},
    ),
    "exception without text": ("class E(Exception):\n  def __str__(self): raise E\nraise E", {"error"}),
}


@pytest.mark.parametrize("name", LIFE_AND_DESCRIPTORS)
def test_attacks_on_the_process_end_in_a_result(tier: str, open_sandbox: OpenSandbox, name: str) -> None:
    code, statuses = LIFE_AND_DESCRIPTORS[name]
    linked = open_sandbox(tier=tier)
    result = linked.run(code, timeout_s=2)
    assert result.status in statuses
    if result.status == "killed":
        assert result.error == "ReplKilled"
    after = linked.run("print('still here')")
    assert (after.status, after.stdout) == ("ok", "still here\n")


ENDLESS = {
    "spin": ("while True: pass", {"timeout"}),
    "sleep": ("import time; time.sleep(1000)", {"timeout"}),
    "catch the interrupt": (
        "while True:\n  try:\n    for i in range(10**12): x = i\n  except BaseException: pass",
        {"killed"},
    ),
    "ignore the signal": ("import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass", {"killed"}),
    "hopeless pattern": ("import re; re.match(r'(a+)+b', 'a' * 60)", {"killed", "timeout"}),
    "huge integer": ("x = 10 ** 10 ** 9", {"killed", "error", "timeout"}),
    "endless text of the answer": (
        "class A:\n  def __str__(self):\n    while True: pass\nanswer['content'] = A(); answer['ready'] = True",
        {"killed", "timeout", "error"},
    ),
    "fork bomb": ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", {"killed", "timeout"}),
    "endless output": ("while True: print('x' * 1000)", {"timeout"}),
    "stop itself": ("import os; os.kill(os.getpid(), 19)", {"killed", "ok", "error", "timeout"}),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_code_without_end_is_stopped(tier: str, open_sandbox: OpenSandbox, name: str) -> None:
    code, statuses = ENDLESS[name]
    linked, neighbour = open_sandbox(tier=tier, max_processes=32), open_sandbox(tier=tier)
    cell = linked.start(code, timeout_s=0.5)
    assert neighbour.run("print('calm')").stdout == "calm\n"
    assert linked.finish(cell).status in statuses
    assert linked.run("print('still here')").stdout == "still here\n"


def test_the_host_can_stop_a_cell(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier)
    cell = linked.start("print('started')\nwhile True: pass")
    linked.wait(lambda f: isinstance(f, Output))
    linked.link.interrupt(cell)
    assert linked.finish(cell).status == "interrupted"


def test_waiting_for_a_sub_call_does_not_use_up_the_time_of_the_cell(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier)
    cell = linked.start("import threading; threading.Timer(1.2, lambda: None).start()\nprint(llm_query('q'))", 0.8)
    linked.subcall()
    beside = open_sandbox(tier=tier)
    assert beside.run("import time; time.sleep(1.0)").status == "ok"
    linked.link.answer("c1", 0, text="reply")
    assert linked.finish(cell).stdout == "reply\n"


def test_memory_that_is_not_there_is_a_memory_error(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier, memory_mb=256)
    result = linked.run("held = []\nwhile True: held.append(bytearray(10_000_000))")
    assert (result.status, result.error) == ("error", "MemoryError")
    assert linked.run("print(len(held) > 5); del held").stdout == "True\n"


def test_memory_outside_the_heap_is_limited_too(tier: str, open_sandbox: OpenSandbox) -> None:
    linked, neighbour = open_sandbox(tier=tier, memory_mb=128, disk_mb=16), open_sandbox(tier=tier)
    code = (
        "import mmap\nheld = []\nwhile True:\n  m = mmap.mmap(-1, 1 << 24); m.write(b'x' * (1 << 24)); held.append(m)"
    )
    assert linked.run(code, timeout_s=20).status in ("killed", "error")
    assert linked.run("print('still here')").stdout == "still here\n"
    assert neighbour.run("print('calm')").stdout == "calm\n"


def test_memory_of_many_processes_is_counted_together(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier, memory_mb=128, disk_mb=16)
    code = (
        "import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n    held = bytearray(60_000_000)\n"
        "    for i in range(0, len(held), 4096): held[i] = 1\n    time.sleep(60)\nprint(os.wait()[1])"
    )
    result = linked.run(code, timeout_s=20)
    # The kernel takes one of the processes, the watchdog takes them all.
    assert (result.status, result.stdout) in (("ok", "9\n"), ("killed", ""))
    assert linked.run("print('still here')").stdout == "still here\n"


def test_the_disk_has_an_end(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier, disk_mb=16)
    code = "with open('big', 'wb') as f:\n  for _ in range(64): f.write(b'x' * (1 << 20))"
    result = linked.run(code)
    assert (result.status, result.error) == ("error", "OSError")
    assert linked.run("import os; os.remove('big'); print('on')").stdout == "on\n"


def test_a_gigabyte_of_output_is_counted_and_cut(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier)
    result = linked.run(
        "import os\nb = b'x' * 1_000_000\nfor _ in range(1000):\n  v = b\n  while v: v = v[os.write(1, v):]"
    )
    assert result.status == "ok"
    assert result.finished.output_bytes == 1_000_000_000
    assert len(result.stdout) == result.finished.output_bytes - result.finished.dropped_bytes == 4 * 1024 * 1024


def test_a_line_of_100_mb_does_not_break_the_protocol(tier: str, open_sandbox: OpenSandbox) -> None:
    result = open_sandbox(tier=tier).run("import sys; sys.stdout.write('y' * 100_000_000)")
    assert (result.status, result.finished.output_bytes) == ("ok", 100_000_000)


FRAME = '{"type":"finished","seq":99,"cell":"cell-1","status":"ok","duration_ms":1}'


def test_forged_frames_stay_text(tier: str, open_sandbox: OpenSandbox) -> None:
    result = open_sandbox(tier=tier).run(
        f"print('''{FRAME}'''); import sys; print('''{FRAME}''', file=sys.stderr); 1/0"
    )
    assert (result.status, result.stdout, result.stderr) == ("error", FRAME + "\n", FRAME + "\n")


def test_writing_on_every_descriptor_forges_nothing(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier)
    code = f"import os\nfor d in range(3, 1024):\n  try: os.write(d, b'''{FRAME}\\n''')\n  except OSError: pass"
    assert linked.run(code).status == "killed"
    assert linked.run("print('still here')").stdout == "still here\n"


@pytest.mark.parametrize("message", [
    {"t": "done", "error": 5}, {"t": "done", "final": {"file": "../../etc/passwd", "size_bytes": 1}},
    {"t": "call", "n": 7, "kind": "llm", "prompts": []}, {"t": "call", "n": 1, "kind": "rm", "prompts": ["x"]},
    {"t": "call", "n": "1"}, {"t": "done", "final": {"text": "x" * 100_000, "size_bytes": 3}}, {"t": []},
])  # fmt: skip
def test_a_taken_over_repl_cannot_say_what_the_protocol_forbids(
    tier: str, open_sandbox: OpenSandbox, message: dict[str, object]
) -> None:
    linked = open_sandbox(tier=tier)
    taking_over = (
        "import gc\ncontrol = [o for o in gc.get_objects() if type(o).__name__ == 'Control'][0]\n"
        f"control.send({message!r})\nimport time; time.sleep(5)"
    )
    assert linked.run(taking_over, timeout_s=8).status == "killed"
    assert linked.run("print('still here')").stdout == "still here\n"


def test_a_thread_that_outlives_its_cell_prints_late_and_never_into_the_next(
    tier: str, open_sandbox: OpenSandbox
) -> None:
    linked = open_sandbox(tier=tier)
    code = (
        "import threading, time\ngo = threading.Event()\n"
        "def late():\n  go.wait()\n  for _ in range(5): print('late'); time.sleep(0.01)\n"
        "t = threading.Thread(target=late); t.start()"
    )
    first = linked.start(code)
    assert linked.finish(first).finished.threads == 1
    second = linked.run("go.set(); t.join(); print('second')")
    assert second.stdout == "second\n"
    third = linked.run("print('third')")
    assert third.stdout == "third\n"
    assert linked.output(first, late=True) == "late\n" * 5


def test_a_process_that_outlives_its_cell_is_frozen_and_prints_late(tier: str, open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox(tier=tier)
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen(['sh', '-c', 'while :; do echo tick; sleep 0.01; done'])\nprint('first')"
    )
    first = linked.start(code)
    linked.finish(first)
    assert linked.run("import time; time.sleep(0.2); print('second')").stdout == "second\n"
    linked.run("p.kill(); p.wait()")
    assert set(linked.output(first, late=True).split()) <= {"tick"}
    assert "tick" in linked.output(first, late=True)


def test_a_killed_repl_has_its_contexts_again(tier: str, open_sandbox: OpenSandbox) -> None:
    from sandboxes import aio
    from sandboxes.frames import ContextFile, Setup, SetupDone

    linked = open_sandbox(tier=tier)
    aio.run(linked.sandbox.write_file(".rlm/in/c.txt", b"the context"))
    linked.link.setup(Setup(id="s", contexts=[ContextFile(path=".rlm/in/c.txt")]))
    linked.wait(lambda f: isinstance(f, SetupDone))
    assert linked.run("mine = 1; import os; os._exit(1)").status == "killed"
    assert linked.run("print(context, 'mine' in dir())").stdout == "the context False\n"
