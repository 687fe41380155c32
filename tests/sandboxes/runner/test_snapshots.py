"""Snapshots with a real runner: take, write down, restore in another runner, evaluate in a parked copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandboxes.runner import bundle
from sandboxes.runner.checks import Rejected, check_data
from sandboxes.runner.parked import _polled_descriptors
from tests.sandboxes.runner.host import RunnerHost, runner
from tests.sandboxes.runner.snapshothost import Store, evaluate


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_snapshot_comes_back_in_another_runner(host: RunnerHost, store: Store, tmp_path: Path) -> None:
    host.run("x = [1, 2]; y = {'a': x}; open('notes.txt', 'w').write('hello')")
    store.snapshot(host, "s1")
    host.run("x.append(3); open('notes.txt', 'w').write('changed')")
    other = tmp_path / "other"
    other.mkdir()
    with runner(other) as second:
        restored = store.restore(second, "s1")
        assert "error" not in restored
        assert {v["name"] for v in restored["variables"]} == {"x", "y"}
        assert store.run(second, "print(x, y, open('notes.txt').read())")["stdout"] == "[1, 2] {'a': [1, 2]} hello\n"


def test_code_is_evaluated_in_a_parked_copy_and_changes_nothing(host: RunnerHost, store: Store) -> None:
    host.run("x = [1, 2]")
    store.take(host, "s1")
    host.run("x.append(3)")
    result = evaluate(host, "s1", "print('hi'); x.append(9); x")
    assert (result["status"], result["value"]["text"], result["output"]) == ("ok", "[1, 2, 9]", "hi\n")
    assert evaluate(host, "s1", "x")["value"]["text"] == "[1, 2]"
    assert host.run("print(x)")["stdout"] == "[1, 2, 3]\n"


def test_a_full_snapshot_has_everything_again(host: RunnerHost, store: Store, tmp_path: Path) -> None:
    host.run("x = [1, 2]; open('notes.txt', 'w').write('hello')")
    store.snapshot(host, "s1")
    store.contents.clear()
    host.run("y = 1")
    store.snapshot(host, "s2", full=True)
    other = tmp_path / "other"
    other.mkdir()
    with runner(other) as second:
        store.restore(second, "s2")
        assert store.run(second, "print(x, y, open('notes.txt').read())")["stdout"] == "[1, 2] 1 hello\n"


def test_small_contents_travel_in_the_frame_and_large_ones_in_a_file(host: RunnerHost, store: Store) -> None:
    host.run("x = 1")
    store.snapshot(host, "small")
    host.run("y = list(range(30_000))")
    store.snapshot(host, "large")
    small, large = (host.wait_type("snapshot_part", id=id) for id in ("small", "large"))
    assert "data" in small
    assert "file" not in small
    assert "data" not in large
    assert large["file"].startswith(".rlm/out/")


@pytest.mark.parametrize("data", ["AAA=", "AA==AA==", "A*AA", "AAAAAAAA", "ÄAAA", 7, None])
def test_a_part_that_the_host_could_not_read_is_rejected(data: object) -> None:
    with pytest.raises(Rejected):
        check_data(data, 3)


def test_a_snapshot_is_taken_once_for_an_id(host: RunnerHost, store: Store) -> None:
    host.run("x = 1")
    store.snapshot(host, "s1")
    before = host.last_seq
    host.run("x = 2")
    host.send({"type": "snapshot", "id": "s1"})
    again = host.wait(lambda f: f["type"] == "snapshot_done" and f["seq"] > before)
    first = host.wait_type("snapshot_done", id="s1")
    assert again["manifest"] == first["manifest"]


def test_no_snapshot_is_taken_while_a_cell_runs(host: RunnerHost) -> None:
    cell = host.exec("llm_query('q')")
    host.wait_type("subcall")
    host.send({"type": "snapshot", "id": "s1"})
    assert host.wait_type("error", id="s1")["code"] == "busy"
    host.send({"type": "answer", "call": "c1", "text": {"text": "a"}})
    host.wait_type("finished", cell=cell)


def test_a_cell_can_be_sent_right_behind_a_snapshot(host: RunnerHost, store: Store) -> None:
    host.run("x = [1]")
    host.send({"type": "snapshot", "id": "s1"})
    assert host.run("x.append(2); print(x)")["stdout"] == "[1, 2]\n"
    store.collect(host, "s1")
    assert evaluate(host, "s1", "x")["value"]["text"] == "[1]"


@pytest.mark.parametrize(("live", "durable"), [(True, False), (False, True)])
def test_what_was_not_asked_for_is_not_made(host: RunnerHost, store: Store, live: bool, durable: bool) -> None:
    host.run("x = 1")
    taken = store.take(host, "s1", live=live, durable=durable)
    assert (taken["live"], taken["reason"]) == (live, "")
    if durable:
        assert store.collect(host, "s1")["manifest"]
    status = evaluate(host, "s1", "x")["status"]
    assert status == ("ok" if live else "no_snapshot")
    assert ("snapshot_done" in {f["type"] for f in host.frames}) is durable


def test_files_and_links_of_every_step_come_back(host: RunnerHost, store: Store, tmp_path: Path) -> None:
    steps = [
        "import os; os.makedirs('a/b'); open('a/b/f', 'wb').write(bytes(300_000)); open('g', 'w').write('one')",
        "open('g', 'w').write('two'); os.symlink('g', 'l'); os.chmod('g', 0o600)",
        "os.unlink('a/b/f'); os.rmdir('a/b'); open('h', 'w').write('')",
    ]
    for number, code in enumerate(steps):
        host.run(code)
        store.snapshot(host, f"s{number}")
    shown = "import os; print(sorted((d, sorted(f)) for d, _, f in os.walk('.') if '.rlm' not in d), open('g').read())"
    expected = [
        "[('.', ['g']), ('./a', []), ('./a/b', ['f'])] one\n",
        "[('.', ['g', 'l']), ('./a', []), ('./a/b', ['f'])] two\n",
        "[('.', ['g', 'h', 'l']), ('./a', [])] two\n",
    ]
    for number, text in enumerate(expected):
        folder = tmp_path / str(number)
        folder.mkdir()
        with runner(folder) as other:
            assert "error" not in store.restore(other, f"s{number}")
            assert store.run(other, shown)["stdout"] == text
            if number:
                assert (
                    store.run(other, "print(os.readlink('l'), oct(os.stat('g').st_mode))")["stdout"] == "g 0o100600\n"
                )


def test_a_content_is_handed_over_once(host: RunnerHost, store: Store) -> None:
    host.run("open('f', 'wb').write(b'x' * 500_000)")
    store.snapshot(host, "s1")
    host.run("open('g', 'wb').write(b'x' * 500_000)")
    store.snapshot(host, "s2")
    sent = [sha256 for f in host.frames if f["type"] == "snapshot_part" for sha256, _ in f["blobs"]]
    assert len(sent) == len(set(sent))
    files = {file.path: file.blobs for file in store.manifest("s2").files if file.kind == "file"}
    assert files["f"] == files["g"]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ".rlm/in/x", ""])
def test_a_manifest_with_a_path_that_leads_out_is_refused(
    host: RunnerHost, store: Store, tmp_path: Path, path: str
) -> None:
    host.run("open('harmless', 'w').write('x')")
    store.snapshot(host, "s1")
    store.manifests["s1"] = store.manifests["s1"].replace('"harmless"', f'"{path}"')
    folder = tmp_path / "other"
    folder.mkdir()
    with runner(folder) as other:
        assert store.restore(other, "s1")["error"]["type"] == "ValueError"


def test_variables_that_are_not_loaded_are_listed_and_load_when_named(
    host: RunnerHost, store: Store, tmp_path: Path
) -> None:
    host.run("x = 1; y = [2]")
    store.snapshot(host, "s1")
    folder = tmp_path / "other"
    folder.mkdir()
    with runner(folder) as other:
        store.restore(other, "s1")
        assert "'x': 'int'" in store.run(other, "print(SHOW_VARS())")["stdout"]
        assert store.run(other, "print(FINAL_VAR('y'))")["final"]["text"] == "[2]"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", "2"),
        ("x = 5\nx", "5"),
        ("'text'", "'text'"),
        ("None", "None"),
        ("x = 5", None),
        ("", None),
        ("print('x')", "None"),
        ("import math", None),
        ("'ab\\x00\\ud800'", r"'ab\\x00\\ud800'"),
    ],
)
def test_the_value_of_a_last_expression_is_shown_when_asked(host: RunnerHost, code: str, value: str | None) -> None:
    assert "value" not in host.run(code)
    finished = host.run(code, show=True)
    assert finished["status"] == "ok"
    assert finished.get("value", {}).get("text") == (value.replace("\\\\", "\\") if value else None)


def test_a_shown_value_is_bounded_and_under_the_clock(host: RunnerHost) -> None:
    finished = host.run("list(range(1_000_000))", show=True)
    assert finished["value"]["size_bytes"] < 100_000
    hanging = "class R:\n  def __repr__(self):\n    while True: pass\nR()"
    assert host.run(hanging, show=True, timeout_s=0.2)["status"] == "timeout"


def test_a_host_that_comes_back_learns_what_the_repl_waits_for(host: RunnerHost, store: Store, tmp_path: Path) -> None:
    host.run("x = [1, 2]")
    store.snapshot(host, "s1")
    folder = tmp_path / "other"
    folder.mkdir()
    with runner(folder) as other:
        store.restore(other, "s1")
        before = len(other.frames)
        cell = other.exec("print(x)")
        need = other.wait_type("need", after=before)
        other.send({"type": "ack", "seq": need["seq"]})
        state = other.attach(need["seq"])
        assert state["need"]["blobs"] == need["blobs"]
        store.supply(other, need)
        other.frames = [f for f in other.frames if f["type"] != "need"]
        store.serve(other, "finished", cell=cell)
        assert other.output(cell) == "[1, 2]\n"


def test_a_wait_for_contents_does_not_count_and_can_be_interrupted(
    host: RunnerHost, store: Store, tmp_path: Path
) -> None:
    host.run("x = [1, 2]")
    store.snapshot(host, "s1")
    folder = tmp_path / "other"
    folder.mkdir()
    with runner(folder) as other:
        store.restore(other, "s1")
        before = len(other.frames)
        cell = other.exec("print(x)", timeout_s=0.1)
        other.wait_type("need", after=before)
        other.send({"type": "interrupt", "cell": cell, "reason": "stop"})
        assert other.wait_type("finished", cell=cell)["status"] == "interrupted"
        other.frames = [f for f in other.frames if f["type"] != "need"]
        assert store.run(other, "print(x)")["stdout"] == "[1, 2]\n"


def test_long_code_is_evaluated(host: RunnerHost, store: Store) -> None:
    host.run("x = 1")
    store.take(host, "s1")
    assert evaluate(host, "s1", "# " + "x" * 900_000 + "\nx")["value"]["text"] == "1"


HOOKS = [
    "before=lambda: time.sleep(1000)",
    "after_in_child=lambda: os._exit(0)",
    "after_in_child=lambda: time.sleep(1000)",
    "after_in_parent=lambda: os._exit(0)",
    "before=lambda: 1 / 0",
]


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_into_forks_do_not_run_for_snapshots(host: RunnerHost, store: Store, hook: str) -> None:
    host.run(f"import os, time; os.register_at_fork({hook}); x = 1")
    assert "x" in {variable.name for variable in store.snapshot(host, "s1").variables}
    assert evaluate(host, "s1", "x")["value"]["text"] == "1"
    assert host.run("print('on')", timeout_s=10)["stdout"] == "on\n"


@pytest.mark.parametrize("hook", HOOKS[:4])
def test_hooks_that_run_because_there_are_threads_harm_their_own_snapshot_only(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    source = bundle.source().replace("TAKE_S = 15.0", "TAKE_S = 1.0").replace("SETTLE_MS = 5_000", "SETTLE_MS = 500")
    monkeypatch.setattr(bundle, "source", lambda: source)
    with runner(tmp_path) as host:
        host.run("import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()")
        host.run(f"import os; os.register_at_fork({hook})")
        assert not store.take(host, "s1")["live"]
        assert store.collect(host, "s1")["error"]
        assert host.run("print('on')", timeout_s=10)["stdout"] == "on\n"


def test_open_descriptors_are_found_without_proc() -> None:
    with open(os.devnull) as file:
        descriptor = file.fileno()
        assert descriptor in _polled_descriptors()
    assert descriptor not in _polled_descriptors()
