"""The names and habits of the REPL that models were trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sandboxes.runner.host import RunnerHost


def load(host: RunnerHost, data: bytes, kind: str = "text", **fields: Any) -> dict[str, Any]:
    (host.workspace / "c").write_bytes(data)
    host.send({"type": "setup", "id": "s", "contexts": [{"path": "c", "kind": kind}], **fields})
    return host.wait_type("setup_done")


def test_values_of_expressions_are_not_echoed(host: RunnerHost) -> None:
    assert host.run("1 + 1\n'text'")["stdout"] == ""


def test_names_live_from_cell_to_cell(host: RunnerHost) -> None:
    host.run("import math\ndef area(r): return round(math.pi * r * r, 2)\nclass P: pass\np = P()")
    assert host.run("print(area(2), isinstance(p, P), P.__module__)")["stdout"] == "12.57 True __main__\n"


def test_a_text_context_has_three_names(host: RunnerHost) -> None:
    done = load(host, "héllo\r\n€".encode())
    assert {v["name"] for v in done["variables"]} == {"context", "context_0"}
    assert host.run("print(repr(context), context is context_0)")["stdout"] == "'héllo\\r\\n€' True\n"


def test_bytes_that_are_not_utf_8_are_replaced_and_reported(host: RunnerHost) -> None:
    done = load(host, b"ab\xff\xfecd")
    assert "invalid bytes were replaced" in done["notes"][0]
    assert host.run("print(ascii(context))")["stdout"] == "'ab\\ufffd\\ufffdcd'\n"


@pytest.mark.parametrize(("data", "kind", "shown"), [
    (b"", "text", "''"), (b"", "bytes", "b''"), (b"\x00\xff", "bytes", "b'\\x00\\xff'"),
    (b'{"a": [1, null]}', "json", "{'a': [1, None]}"),
])  # fmt: skip
def test_contexts_come_in_three_kinds(host: RunnerHost, data: bytes, kind: str, shown: str) -> None:
    load(host, data, kind)
    assert host.run("print(repr(context))")["stdout"] == shown + "\n"


def test_a_context_that_cannot_be_loaded_is_an_error_of_the_setup(host: RunnerHost) -> None:
    assert load(host, b"{broken", "json")["error"]["type"] == "JSONDecodeError"
    host.send({"type": "setup", "id": "t", "contexts": [{"path": "missing"}]})
    assert host.wait_type("setup_done", id="t")["error"]["type"] == "FileNotFoundError"


def test_names_of_the_interface_come_back_after_a_cell_overwrote_them(host: RunnerHost) -> None:
    load(host, b"text")
    host.run("context = 'x'; llm_query = None; SHOW_VARS = 3; FINAL = 1; print = None")
    assert host.run("import sys; sys.stdout.write(context + str(callable(llm_query)))")["stdout"] == "textTrue"


def test_a_single_query_returns_the_reply(host: RunnerHost) -> None:
    cell = host.exec("print(llm_query('question', model='small').upper())")
    call = host.wait_type("subcall")
    assert (call["kind"], call["batch"], call["model"], call["blocking"]) == ("llm", False, "small", True)
    assert call["prompts"] == [{"text": "question", "size_bytes": 8}]
    host.send({"type": "answer", "call": "c1", "text": {"text": "reply"}})
    host.wait_type("finished", cell=cell)
    assert host.output(cell) == "REPLY\n"


def test_a_failed_query_returns_text_that_begins_with_error(host: RunnerHost) -> None:
    cell = host.exec("print(rlm_query('q'))")
    assert host.wait_type("subcall")["kind"] == "rlm"
    host.send({"type": "answer", "call": "c1", "error": "the model is not there"})
    host.wait_type("finished", cell=cell)
    assert host.output(cell) == "Error: the model is not there\n"


def test_a_batch_keeps_the_order_whatever_the_order_of_the_answers(host: RunnerHost) -> None:
    cell = host.exec("print(rlm_query_batched([str(i) for i in range(5)]), llm_query_batched([]))")
    assert host.wait_type("subcall")["batch"] is True
    for index in (3, 0, 4, 2, 1):
        host.send({"type": "answer", "call": "c1", "index": index, "text": {"text": f"r{index}"}})
    host.wait_type("finished", cell=cell)
    assert host.output(cell) == "['r0', 'r1', 'r2', 'r3', 'r4'] []\n"


def test_prompts_that_are_not_text_travel_as_json(host: RunnerHost) -> None:
    host.exec("llm_query_batched([[{'role': 'user', 'content': 'hé'}], {'a': 1}, 7, {1, 1}])")
    texts = [p["text"] for p in host.wait_type("subcall")["prompts"]]
    assert json.loads(texts[0]) == [{"role": "user", "content": "hé"}]
    assert (json.loads(texts[1]), texts[2:]) == ({"a": 1}, ["7", "{1}"])


def test_calls_are_numbered_in_order_and_anew_in_each_cell(host: RunnerHost) -> None:
    for _ in range(2):
        start = len(host.frames)
        host.exec("llm_query('a'); llm_query('b')")
        for number in ("c1", "c2"):
            host.wait_type("subcall", after=start, call=number)
            host.send({"type": "answer", "call": number, "text": {"text": ""}})
        host.wait(lambda f: f["type"] == "finished", after=start)


@pytest.mark.parametrize("code", [
    "from concurrent.futures import ThreadPoolExecutor as T\nprint(sum(map(int, T(8).map(llm_query, 'x' * 40))))",
    "import asyncio\nasync def main():\n  l = asyncio.get_running_loop()\n"
    "  return await asyncio.gather(*[l.run_in_executor(None, llm_query, 'x') for _ in range(40)])\n"
    "print(sum(map(int, asyncio.run(main()))))",
    "print(sum(map(int, llm_query_batched(['x'] * 40))))",
])  # fmt: skip
def test_queries_work_from_threads_and_event_loops(host: RunnerHost, code: str) -> None:
    cell = host.exec(code)
    answered = 0
    while answered < 40:
        call = host.wait_type("subcall", call=f"c{1 + (answered if 'batched' not in code else 0)}")
        for index, _ in enumerate(call["prompts"]):
            host.send({"type": "answer", "call": call["call"], "index": index, "text": {"text": "1"}})
            answered += 1
    assert host.wait_type("finished", cell=cell)["status"] == "ok"
    assert host.output(cell) == "40\n"


WAITING_THREADS = """
import threading
replies = []
def ask(n): replies.append(llm_query(str(n)))
threads = [threading.Thread(target=ask, args=(n,)) for n in range(10)]
for thread in threads: thread.start()
while not all(thread.is_alive() for thread in threads): pass
"""


def test_threads_that_wait_when_their_cell_ends_take_nothing_of_the_next_one(host: RunnerHost) -> None:
    # One of them reads for all: it took the next cell's code for an answer and dropped it, every other time.
    for n in range(1, 11):
        assert host.run(WAITING_THREADS)["threads"] >= 0
        assert host.run(f"print({n})", timeout_s=5)["stdout"] == f"{n}\n"
    ended = host.run("for thread in threads: thread.join()\nprint(len(replies), set(replies))", timeout_s=5)
    assert ended["stdout"] == "10 {'Error: the cell that asked has ended'}\n"


def test_threads_that_ask_between_two_cells_ask_nobody_and_harm_nothing(host: RunnerHost) -> None:
    code = "import threading\ndef ask():\n  while not done: llm_query('again')\n"
    host.run(code + "done = False\nfor _ in range(5): threading.Thread(target=ask).start()")
    for n in range(10):
        assert host.run(f"print({n})", timeout_s=5)["stdout"] == f"{n}\n"
    assert host.run("done = True\nprint('on')", timeout_s=5)["stdout"] == "on\n"
    assert [frame for frame in host.frames if frame["type"] == "error"] == []


def test_a_tool_cannot_ask_while_it_is_defined(host: RunnerHost) -> None:
    tool = {"name": "early", "source": "early = llm_query('too early')"}
    load(host, b"text", tools=[tool])
    assert host.run("print(early)")["stdout"] == "Error: sub-calls are only possible in a cell\n"


def test_a_forked_process_cannot_ask_and_is_told_so(host: RunnerHost) -> None:
    code = "import os, sys\nif os.fork() == 0:\n  print(llm_query('q')); sys.stdout.flush(); os._exit(0)\nos.wait()"
    assert host.run(code)["stdout"].startswith("Error: sub-calls are only possible in the process of the cell")


@pytest.mark.parametrize(("code", "final"), [
    ("answer['content'] = 42; answer['ready'] = True", "42"),
    ("answer['ready'] = True; answer['content'] = 'set after'", "set after"),
    ("def f():\n  answer['content'] = 'inner'\n  answer['ready'] = True\nf()", "inner"),
    ("answer = {'content': 'rebound', 'ready': True}", "rebound"),
    ("answer.update(content='updated', ready=True)", "updated"),
    ("answer['content'] = 'before'; answer['ready'] = True; 1 / 0", "before"),
    ("FINAL('direct')", "direct"),
    ("FINAL([1, 2])", "[1, 2]"),
    ("x = {'k': 1}\nFINAL_VAR('x')", "{'k': 1}"),
    ("x = 'value'\nFINAL_VAR(x)", "value"),
    ("x = 'Paris'\nFINAL_VAR(x)", "Paris"),
    ("FINAL_VAR('the answer is 42.')", "the answer is 42."),
    ("answer['content'] = '\\ud800\\x00'; answer['ready'] = True", "?\u2400"),
])  # fmt: skip
def test_ways_to_give_the_final_answer(host: RunnerHost, code: str, final: str) -> None:
    assert host.run(code)["final"]["text"] == final


def test_an_unknown_variable_is_no_answer_and_the_known_ones_are_listed(host: RunnerHost) -> None:
    finished = host.run("known = 1\nprint(FINAL_VAR('unknown'))")
    assert "final" not in finished
    assert finished["stdout"].startswith("Error: Variable 'unknown' not found. Available variables: ['known']")


def test_a_draft_is_reported_as_partial_and_an_old_answer_not_again(host: RunnerHost) -> None:
    draft = host.run("answer['content'] = 'draft'")
    assert draft["partial"]["text"] == "draft"
    assert "final" not in draft
    assert host.run("answer['ready'] = True")["final"]["text"] == "draft"
    assert "final" not in host.run("x = 1")


def test_show_vars_lists_what_the_code_made(host: RunnerHost) -> None:
    assert host.run("print(SHOW_VARS())")["stdout"].startswith("No variables created yet")
    assert host.run("a = 1; _b = 2\nprint(SHOW_VARS())")["stdout"] == "Available variables: {'a': 'int'}\n"


def test_variables_are_described_without_running_their_code(host: RunnerHost) -> None:
    finished = host.run(
        "class Bad:\n  def __repr__(self): raise SystemExit\n  __len__ = __str__ = __eq__ = __hash__ = __repr__\n"
        "bad = Bad()\nd = {'k': [1, 2, 3]}\nbig = 10 ** 10000\ns = 'x' * 1000\nbadlist = [bad]"
    )
    shown = {v["name"]: v for v in finished["variables"]}
    assert finished["status"] == "ok"
    assert shown["bad"]["preview"] == "<Bad>"
    assert shown["badlist"]["preview"] == "[<Bad>]"
    assert shown["d"]["preview"] == "{'k': [1, 2, 3]}"
    assert shown["big"]["preview"] == "<integer of 33,220 bits>"
    assert shown["s"]["size"] == "1,000 chars"


def test_tools_are_source_or_values(host: RunnerHost) -> None:
    tools = [
        {"name": "double", "source": "def double(x):\n  return 2 * x"},
        {"name": "limits", "value": {"a": [1, None]}},
    ]
    host.send({"type": "setup", "id": "s", "tools": tools})
    assert "error" not in host.wait_type("setup_done")
    assert host.run("print(double(21), limits)")["stdout"] == "42 {'a': [1, None]}\n"
    host.send({"type": "setup", "id": "t", "tools": [{"name": "gone", "source": "other = 1"}]})
    assert "does not define 'gone'" in host.wait_type("setup_done", id="t")["error"]["message"]


def test_a_traceback_shows_lines_of_cells_and_nothing_of_the_runner(host: RunnerHost) -> None:
    host.run("import json\ndef inner(x):\n    return json.loads(x)")
    error = host.run("def outer():\n    inner('{bad')\n\nouter()")["error"]
    assert error["type"] == "JSONDecodeError"
    assert 'File "<cell 2>", line 4, in <module>\n    outer()' in error["traceback"]
    assert 'File "<cell 1>", line 3, in inner\n    return json.loads(x)' in error["traceback"]
    assert ".py" not in error["traceback"]


def test_a_syntax_error_names_line_and_text(host: RunnerHost) -> None:
    error = host.run("x = 1\nif x\n  y")["error"]
    assert error["type"] == "SyntaxError"
    assert "line 2" in error["traceback"]
    assert "if x" in error["traceback"]


def test_output_of_subprocesses_and_both_streams_are_captured(host: RunnerHost) -> None:
    finished = host.run(
        "import sys, subprocess\nprint('a', flush=True)\nsubprocess.run(['sh', '-c', 'echo b; echo c >&2'])"
    )
    assert (finished["stdout"], finished["stderr"]) == ("a\nb\n", "c\n")


def test_characters_that_arrive_in_halves_stay_whole(host: RunnerHost) -> None:
    code = "import os, time\nfor byte in 'é€😀'.encode():\n  os.write(1, bytes([byte])); time.sleep(0.03)"
    assert host.run(code)["stdout"] == "é€😀"


def test_output_past_the_cap_is_counted_and_dropped(host: RunnerHost) -> None:
    host.send({"type": "setup", "id": "s", "max_output_bytes": 1000})
    host.wait_type("setup_done")
    finished = host.run("print('x' * 4999)")
    assert (len(finished["stdout"]), finished["output_bytes"], finished["dropped_bytes"]) == (1000, 5000, 4000)
    assert host.run("print('next')")["stdout"] == "next\n"


def test_output_comes_while_the_cell_runs(host: RunnerHost) -> None:
    cell = host.exec("print('early'); llm_query('wait')")
    assert host.wait_type("output", cell=cell)["text"] == "early\n"
    assert all(frame["type"] != "finished" for frame in host.frames)


def test_the_hash_of_text_is_the_same_in_every_runner(host: RunnerHost, tmp_path: Path) -> None:
    from tests.sandboxes.runner.host import runner

    (tmp_path / "second").mkdir()
    with runner(tmp_path / "second") as second:
        assert host.run("print(hash('text'))")["stdout"] == second.run("print(hash('text'))")["stdout"]
