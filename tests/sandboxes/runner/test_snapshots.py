"""Snapshots with a real runner: take, write down, restore in another runner, evaluate in a parked copy."""

from __future__ import annotations

from pathlib import Path

import pytest

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
