"""Side channels of the local service: evaluate in parked copies, beside the host and a running cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from sandboxes import aio
from sandboxes.errors import SandboxError, StreamLost
from sandboxes.side import SideLink
from tests.sandboxes.service import Linked

OpenSandbox = Callable[..., Linked]


@pytest.fixture
def linked(tier: str, open_sandbox: OpenSandbox) -> Linked:
    return open_sandbox(tier=tier)


@pytest.fixture
def side(linked: Linked) -> Iterator[SideLink]:
    link = SideLink(linked.sandbox)
    yield link
    link.close()


def test_code_is_evaluated_while_a_cell_runs(linked: Linked, side: SideLink) -> None:
    linked.run("x = [1, 2]")
    assert linked.snapshot("s1", durable=False).live
    cell = linked.start("x.append(3); print(llm_query('wait'))")
    linked.subcall()
    answer = side.evaluate("s1", "print('seen'); x.append(9); x")
    assert (answer.status, answer.output) == ("ok", "seen\n")
    assert answer.value is not None
    assert answer.value.text == "[1, 2, 9]"
    linked.link.answer("c1", 0, text="go on")
    assert linked.finish(cell).stdout == "go on\n"
    assert linked.run("print(x)").stdout == "[1, 2, 3]\n"


def test_what_the_code_raises_is_an_answer(linked: Linked, side: SideLink) -> None:
    linked.run("x = 1")
    linked.snapshot("s1", durable=False)
    answer = side.evaluate("s1", "x / 0")
    assert answer.status == "error"
    assert answer.error is not None
    assert answer.error.type == "ZeroDivisionError"


def test_an_unknown_snapshot_is_an_answer(linked: Linked, side: SideLink) -> None:
    assert side.evaluate("never", "1").status == "no_snapshot"


HOSTILE = {
    "write a file": ("open('here', 'w')", "error", "PermissionError"),
    "write to /tmp": ("open('/tmp/here', 'w')", "error", "PermissionError"),
    "remove a file": ("import os; os.unlink('kept')", "error", "PermissionError"),
    "rename a file": ("import os; os.rename('kept', 'gone')", "error", "PermissionError"),
    "cut a file": ("import os; os.truncate('kept', 0)", "error", "PermissionError"),
    "change an open file": ("held.write('x'); held.flush()", "error", "OSError"),
    "fork": ("import os; os.fork()", "error", "PermissionError"),
    "start a program": ("import subprocess; subprocess.run(['/bin/true'])", "error", "PermissionError"),
    "kill everybody": ("import os; os.kill(-1, 9)", "error", "PermissionError"),
    "kill its parent": ("import os; os.kill(os.getppid(), 9)", "error", "PermissionError"),
    "ask a model": ("llm_query('q')", "ok", ""),
    "end itself": ("import os; os._exit(0)", "killed", ""),
    "spin": ("while True: pass", "timeout", ""),
    "sleep": ("import time; time.sleep(100)", "timeout", ""),
    "catch everything": ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", "timeout", ""),
    "hang in repr": ("class R:\n  def __repr__(self):\n    while True: pass\nR()", "timeout", ""),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "killed", ""),
    "exit": ("raise SystemExit", "error", "SystemExit"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_changes_nothing(linked: Linked, side: SideLink, name: str) -> None:
    code, status, error = HOSTILE[name]
    linked.run("kept = open('kept', 'w').write('kept'); held = open('kept', 'a')")
    linked.run("import time; time.sleep(0.05)")  # past the tick in which a file could change unseen
    assert linked.snapshot("s1", durable=False).live
    answer = side.evaluate("s1", code, timeout_s=1)
    assert (answer.status, answer.error.type if answer.error else "") == (status, error)
    assert linked.run("held.close(); print(open('kept').read())").stdout == "kept\n"
    assert side.evaluate("s1", "1 + 1").status in ("ok", "no_snapshot")


def test_output_and_value_without_end_are_cut(linked: Linked, side: SideLink) -> None:
    linked.run("x = '\\x01' * 10_000_000")
    linked.snapshot("s1", durable=False)
    answer = side.evaluate("s1", "print(x * 3); x", max_output_bytes=50_000)
    assert answer.status == "ok"
    assert len(answer.output) <= 50_000
    assert answer.output_bytes > 50_000
    assert answer.value is not None
    assert answer.value.text is not None
    assert answer.value.text.endswith("[10,000,000 in all]")


def test_the_files_of_another_moment_are_not_shown_as_those_of_this_one(linked: Linked, side: SideLink) -> None:
    linked.run("x = 1")
    linked.snapshot("s1", durable=False)
    linked.run("open('new', 'w').write('x')")
    assert side.evaluate("s1", "x").status == "no_snapshot"


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"exec","id":"x","code":{"text":"print(1)"}}',
        b'{"type":"shutdown"}',
        b'{"type":"side","n":1,"frame":{"type":"shutdown"}}',
        b'{"type":"evaluate"},"frame":{"type":"shutdown"}',
        b"not json",
    ],
)
def test_a_side_client_cannot_speak_as_the_host(linked: Linked, line: bytes) -> None:
    async def speak() -> list[bytes]:
        channel = await linked.sandbox.open_side()
        await channel.send_line(line)
        try:
            return [answer async for answer in channel.lines()]
        finally:
            await channel.close()

    with pytest.raises(StreamLost):
        aio.run(speak())
    assert linked.run("print('on')").stdout == "on\n"


def test_each_client_gets_its_own_answers_only(linked: Linked, side: SideLink) -> None:
    linked.run("x = 1")
    linked.snapshot("s1", durable=False)

    async def ask(id: str) -> list[str]:
        channel = await linked.sandbox.open_side()
        frame = {"type": "evaluate", "id": id, "snapshot": "s1", "code": {"text": "x"}}
        await channel.send_line(json.dumps(frame).encode())
        lines = channel.lines()
        first = json.loads(await anext(lines))
        await channel.close()
        return [first["id"], *[json.loads(line)["id"] async for line in lines]]

    assert [aio.run(ask(id)) for id in ("a", "b")] == [["a"], ["b"]]


def test_a_sandbox_that_is_gone_is_an_error(linked: Linked, side: SideLink) -> None:
    aio.run(linked.sandbox.terminate())
    with pytest.raises(SandboxError):
        side.evaluate("s1", "1")
