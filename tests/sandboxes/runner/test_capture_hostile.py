# ruff: noqa: E501
"""Objects whose own code gets in the way of looking at them: they cost their variable at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandboxes.runner.host import RunnerHost, runner
from tests.sandboxes.runner.snapshothost import Store

ENDS = "import os; os._exit(3)"
HOSTILE = {
    "name of class": "class M(type):\n  __name__ = property(lambda c: 1 / 0)\nbad = M('A', (), {})()",
    "name of class is no text": "class M(type):\n  __name__ = 5\nbad = M('A', (), {})",
    "module of class": "class M(type):\n  __module__ = property(lambda c: 1 / 0)\nclass A(metaclass=M): pass\nbad = A()",
    "order of bases": "class M(type):\n  def mro(c): return [c, object]\nclass A(metaclass=M): pass\nbad = A()",
    "attributes of class": "class M(type):\n  def __getattribute__(c, n): raise KeyboardInterrupt\nclass A(metaclass=M): pass\nbad = A()",
    "attributes": "class A:\n  def __getattribute__(s, n): raise SystemExit\nbad = A()",
    "attributes that end": f"class A:\n  def __getattribute__(s, n): {ENDS}\nbad = A()",
    "class": "class A:\n  @property\n  def __class__(s): raise KeyboardInterrupt\nbad = A()",
    "equality": f"class A:\n  def __eq__(s, o): {ENDS}\n  def __hash__(s): return 1\nbad = {{A(): 1, 5: A()}}",
    "hash later": "class A:\n  def __hash__(s): return n[0]\n  def __eq__(s, o): 1 / 0\nn = [1]; bad = {A(), 'x'}; n[0] = []",
    "repr": f"class A:\n  def __repr__(s): {ENDS}\n  __str__ = __len__ = __iter__ = __repr__\nbad = [A()]",
    "state": f"class A:\n  def __getstate__(s): {ENDS}\nbad = A()",
    "error without message": "class E(Exception):\n  def __str__(s): raise s\nclass A:\n  def __reduce__(s): raise E\nbad = A()",
    "subclass of text": f"class S(str):\n  def encode(s, *a): {ENDS}\n  def __len__(s): {ENDS}\nbad = S('x' * 100_000)",
    "subclass of dictionary": f"class D(dict):\n  def items(s): {ENDS}\n  __iter__ = keys = items\nbad = D(a=1)",
    "nested": "bad = []\nfor _ in range(100_000): bad = [bad]",
    "nested in tuples": "bad = ()\nfor _ in range(100_000): bad = (bad,)",
    "nested in dictionaries": "bad = {}\nfor _ in range(100_000): bad = {'k': bad}",
    "nested in objects": "class A: pass\nbad = A()\nfor _ in range(100_000):\n  n = A(); n.n = bad; bad = n\ndel n",
    "shared again and again": "bad = []\nfor _ in range(60): bad = [bad, bad]",
    "shared in sets": "bad = frozenset()\nfor _ in range(25): bad = frozenset([bad, (bad,)])",
    "names that are none": "globals()[5] = globals()['a\\ud800'] = globals()['x' * 300] = 1; bad = 1",
    "writes over the loaders": "import sys\nfor n in list(sys.modules):\n  if n.startswith('rlm_'): sys.modules[n] = None\nbad = lambda: 1",
}  # fmt: skip
MUST_BE_HELD = ("shared again and again",)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize("name", HOSTILE)
def test_it_costs_its_variable_at_most(host: RunnerHost, store: Store, name: str, tmp_path: Path) -> None:
    prepared = host.run(f"before = [1]\n{HOSTILE[name]}\nlater = [before]", timeout_s=60)
    assert prepared["status"] == "ok", prepared
    manifest = store.snapshot(host, "s1")
    held = {variable.name for variable in manifest.variables}
    listed = {each.name for each in manifest.dropped}
    assert {"before", "later"} <= held
    assert "bad" in held | listed
    assert name not in MUST_BE_HELD or "bad" in held
    assert host.run("print(before, later[0] is before)")["stdout"] == "[1] True\n"
    other = tmp_path / "other"
    other.mkdir()
    with runner(other) as second:
        assert "error" not in store.restore(second, "s1")
        assert store.run(second, "print(before, later[0] is before)")["stdout"] == "[1] True\n"
        store.run(second, "type(bad)")
        assert store.run(second, "print(before)", timeout_s=10)["stdout"] == "[1]\n"


def test_code_that_breaks_the_library_that_snapshots_need_loses_them_only(host: RunnerHost, store: Store) -> None:
    host.run("import pickle; pickle.Pickler = pickle.dumps = None; x = [1]")
    store.take(host, "s1")
    assert "saving it raised TypeError" in store.collect(host, "s1")["error"]
    assert host.run("print(x)")["stdout"] == "[1]\n"
