"""What one snapshot after the other writes down of a namespace, and what comes back."""

from __future__ import annotations

import pytest

from tests.sandboxes.runner.captures import Box, digests, dropped
from tests.sandboxes.runner.graphs import Difference, assert_same


def test_comparison_of_graphs_tells_shared_from_equal() -> None:
    one: list[int] = []
    assert_same([one, one], [one, one])
    with pytest.raises(Difference):
        assert_same([one, one], [[], []])
    with pytest.raises(Difference):
        assert_same([[], []], [one, one])


@pytest.mark.parametrize(
    "code",
    [
        "import contextlib\n@contextlib.contextmanager\ndef f(x):\n    yield x",
        "import collections\nf = collections.namedtuple('F', 'a b', defaults=[2])",
        "import dataclasses\n@dataclasses.dataclass(order=True, frozen=True)\nclass f:\n    a: int = 1",
    ],
    ids=["contextmanager", "namedtuple", "dataclass"],
)
def test_functions_that_libraries_made_work_after_a_restore(code: str) -> None:
    box = Box()
    box.run(f"{code}\nkept = f")
    manifest = box.snap()
    assert dropped(manifest) == {}
    again = box.restored(manifest)
    assert again.eval("kept is f")
    assert again.eval("f(1)") is not None
    assert type(again.eval("f(1)")).__name__ == type(box.eval("f(1)")).__name__


def test_an_unchanged_namespace_stores_nothing_again() -> None:
    box = Box()
    box.run("a = [1, [2]]; b = {'a': a}; text = 'x' * 100_000\ndef f(): return a\nclass C:\n    n = a\nc = C()")
    first = box.snap()
    box.run("a, b, text, f, c")
    second = box.snap()
    assert box.stored == []
    assert digests(first) == digests(second)
    assert set(first.blobs()) == set(second.blobs())


def test_only_what_changed_has_another_digest() -> None:
    box = Box()
    box.run("a = [1]; b = [a, 2]; c = [3]; d = {'c': (c, 'x')}; e = [5]")
    before = digests(box.snap())
    box.run("a.append(4)")
    after = digests(box.snap())
    assert {name for name in after if after[name] != before[name]} == {"a", "b"}


def test_an_array_with_code_of_its_own_costs_its_variable_at_most() -> None:
    box = Box()
    box.run("import numpy\nclass V(numpy.ndarray):\n  dtype = property(lambda s: 1 / 0)")
    box.run("bad = numpy.arange(3).view(V); x = [1]")
    manifest = box.snap()
    assert "x" in digests(manifest)
    assert "bad" in digests(manifest) or "bad" in dropped(manifest)
    assert box.restored(manifest).eval("x") == [1]
