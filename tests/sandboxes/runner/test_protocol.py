"""The runner keeps its side of the protocol, with a real runner process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sandboxes.runner.host import RunnerHost, runner


def test_the_first_frame_is_ready_with_version_and_number_one(host: RunnerHost) -> None:
    assert host.frames[0] | {"pid": 0, "python": ""} == {"type": "ready", "seq": 1, "v": 2, "pid": 0, "python": ""}


def test_a_cell_that_was_run_is_not_run_again(host: RunnerHost) -> None:
    first = host.run("print('once')")
    host.send({"type": "exec", "id": first["cell"], "code": {"text": "print('once')"}})
    again = host.wait(lambda f: f["type"] == "finished" and f["seq"] > first["seq"])
    assert again["cell"] == first["cell"]
    assert host.output(first["cell"]) == "once\n"


def test_an_exec_that_is_sent_twice_while_it_runs_has_one_effect(host: RunnerHost) -> None:
    code = {"text": "print(llm_query('q'))"}
    host.send({"type": "exec", "id": "x", "code": code})
    host.wait_type("subcall")
    host.send({"type": "exec", "id": "x", "code": code})
    host.send({"type": "answer", "call": "c1", "text": {"text": "a"}})
    host.wait_type("finished", cell="x")
    assert host.output("x") == "a\n"
    assert [f["type"] for f in host.frames].count("subcall") == 1


def test_another_cell_is_refused_while_one_runs(host: RunnerHost) -> None:
    host.exec("llm_query('q')")
    host.wait_type("subcall")
    other = host.exec("1")
    assert host.wait_type("error")["id"] == other
    assert host.wait_type("error")["code"] == "busy"


def test_a_repeated_setup_is_answered_and_not_carried_out_again(host: RunnerHost) -> None:
    setup = {"type": "setup", "id": "s", "tools": [{"name": "box", "source": "print('run'); box = []"}]}
    host.send(setup)
    first = host.wait_type("setup_done")
    host.run("box.append(1)")
    host.send(setup)
    host.wait(lambda f: f["type"] == "setup_done" and f["seq"] > first["seq"])
    assert host.run("print(box)")["stdout"] == "[1]\n"


def test_an_answer_that_comes_twice_or_to_nobody_has_no_effect(host: RunnerHost) -> None:
    cell = host.exec("print(llm_query_batched(['p', 'q']))")
    host.wait_type("subcall")
    answer = {"type": "answer", "call": "c1", "index": 0, "text": {"text": "first"}}
    host.send(answer, answer | {"text": {"text": "second"}}, answer | {"call": "c9"})
    host.send({"type": "answer", "call": "c1", "index": 1, "text": {"text": "other"}})
    host.wait_type("finished", cell=cell)
    assert host.output(cell) == "['first', 'other']\n"


def test_frames_that_are_not_acknowledged_come_again_after_attach(host: RunnerHost) -> None:
    finished = host.run("print('hello')")
    before = [f for f in host.frames if f.get("seq", 0) > 1]
    host.frames.clear()
    state = host.attach(after=1)
    host.wait_type("finished")
    assert state["last_seq"] == finished["seq"]
    assert [f for f in host.frames if f["type"] != "state"] == [
        {k: v for k, v in f.items() if k not in ("stdout", "stderr")} for f in before
    ]


def test_acknowledged_frames_are_forgotten(host: RunnerHost) -> None:
    finished = host.run("print('hello')")
    host.send({"type": "ack", "seq": finished["seq"]})
    host.frames.clear()
    state = host.attach(after=finished["seq"])
    assert state["first_seq"] == finished["seq"] + 1
    assert state["finished"][-1]["cell"] == finished["cell"]


def test_the_state_names_the_calls_that_have_no_answer_yet(host: RunnerHost) -> None:
    cell = host.exec("llm_query_batched(['p', 'q', 'r'])")
    call = host.wait_type("subcall")
    host.send({"type": "answer", "call": "c1", "index": 1, "text": {"text": "x"}})
    state = host.attach(after=call["seq"])
    assert (state["status"], state["cell"]) == ("running", cell)
    assert [c["call"] for c in state["outstanding"]] == ["c1"]
    assert state["answered"] == {"c1": [1]}


def test_the_state_stays_below_the_line_limit_with_many_long_prompts(host: RunnerHost) -> None:
    host.exec("llm_query_batched(['x' * 20_000 + str(i) for i in range(400)])")
    call = host.wait_type("subcall")
    state = host.attach(after=call["seq"])
    prompts = state["outstanding"][0]["prompts"]
    texts = [(host.workspace / p["file"]).read_text() if "file" in p else p["text"] for p in prompts]
    assert [text[20_000:] for text in texts] == [str(i) for i in range(400)]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", "bad_frame"),
        (b"[1, 2]\n", "bad_frame"),
        (b'{"type": "exec"}\n', "bad_frame"),
        (b'{"type": "nonsense", "id": "n"}\n', "bad_frame"),
        (b'{"type": "exec", "id": "e", "code": 3}\n', "bad_frame"),
        (b'{"type": "exec", "id": "e", "code": {"file": "missing"}}\n', "internal"),
        (b"[" * 200_000 + b"\n", "bad_frame"),
        (b"\xff\xfe\n", "bad_frame"),
        (b"x" * (1024 * 1024 + 10) + b"\n", "too_large"),
        (b'{"type": "snapshot"}\n', "bad_frame"),
        (b'{"type": "restore", "id": "n"}\n', "bad_frame"),
    ],
)
def test_a_bad_line_is_answered_and_the_runner_goes_on(host: RunnerHost, line: bytes, code: str) -> None:
    host.send_raw(line)
    assert host.wait_type("error")["code"] == code
    assert host.run("print('on')")["stdout"] == "on\n"


def test_output_waits_in_the_pipe_while_the_host_does_not_acknowledge(tmp_path: Path) -> None:
    with runner(tmp_path) as host:
        host.send({"type": "setup", "id": "s", "max_output_bytes": 64 * 1024 * 1024})
        host.wait_type("setup_done")
        cell = host.exec("for _ in range(300): print('x' * 99_999)")
        # The runner keeps 8 MiB that nobody has on record; the rest of the 30 MB is held back, not lost.
        host.wait(lambda f: f["type"] == "output" and f["seq"] > 100)
        assert all(f["type"] != "finished" for f in host.frames)
        seen = 0
        while not any(f["type"] == "finished" for f in host.frames):
            host.send({"type": "ack", "seq": host.last_seq})
            seen = len(host.frames)
            host.wait(lambda f: True, after=seen)
        assert len(host.output(cell)) == 300 * 100_000


def test_the_end_of_the_stream_ends_the_runner_and_the_code(tmp_path: Path) -> None:
    with runner(tmp_path) as host:
        host.exec("import os; print(os.getpid()); llm_query('wait')")
        host.wait_type("subcall")
        child = int(host.output("cell-1"))
        host.close()
        assert host.process.returncode == 0
        assert not Path(f"/proc/{child}").exists() or "(zombie)" in Path(f"/proc/{child}/status").read_text()


def test_shutdown_ends_the_runner(tmp_path: Path) -> None:
    with runner(tmp_path) as host:
        host.send({"type": "shutdown"})
        assert host.process.wait(5) == 0


def test_code_and_answers_come_from_files_when_they_are_large(host: RunnerHost) -> None:
    os.makedirs(host.workspace / ".rlm/in", exist_ok=True)
    (host.workspace / ".rlm/in/code.py").write_text("x = llm_query('q')\nprint(len(x), x[-3:])")
    (host.workspace / ".rlm/in/answer.txt").write_text("a" * 2_000_000 + "end")
    host.send({"type": "exec", "id": "x", "code": {"file": ".rlm/in/code.py"}})
    host.wait_type("subcall")
    host.send({"type": "answer", "call": "c1", "text": {"file": ".rlm/in/answer.txt"}})
    host.wait_type("finished", cell="x")
    assert host.output("x") == "2000003 end\n"


def test_long_prompts_and_answers_of_the_code_come_as_files(host: RunnerHost) -> None:
    cell = host.exec("answer['content'] = llm_query('p' * 3_000_000); answer['ready'] = True")
    prompt = host.wait_type("subcall")["prompts"][0]
    assert prompt["size_bytes"] == 3_000_000
    assert (host.workspace / prompt["file"]).read_text() == "p" * 3_000_000
    host.send({"type": "answer", "call": "c1", "text": {"text": "r" * 100_000}})
    final = host.wait_type("finished", cell=cell)["final"]
    assert (host.workspace / final["file"]).read_text() == "r" * 100_000
