"""Graphs of objects by chance, changed step by step: what each snapshot brings back equals what was there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sandboxes.manifest import Manifest
from tests.sandboxes.runner.captures import Box, digests, dropped
from tests.sandboxes.runner.graphs import assert_same

NAMES = ("a", "b", "c", "d", "e")
PRELUDE = """
import collections
class Plain: pass
class Slots:
    __slots__ = ("one", "two")
def closure(first):
    def change(*new):
        nonlocal first
        if new:
            first = new[0]
        return first
    return change
"""
MAKERS = (
    *("[]", "{}", "()", "[0, 'x']", "{'k': 1}", "Plain()", "Slots()", "closure(None)", "collections.deque([1])"),
    *("bytearray(b'ab')", "1.5", "'text'", "None", "frozenset([1])", "object()", "iter([1, 2, 3])"),
)
PUTS = (
    "{0}.append({1})",
    "{0}['k'] = {1}",
    "{0}.mine = {1}",
    "{0}.one = {1}",
    "{0}({1})",
    "{0}.extend(b'c')",
    "next({0})",
    "{0}.clear()",
    "{0}.pop()",
)
BINDINGS = (
    "{0} = {1}",
    "{0} = ({1}, {2})",
    "{0} = [{1}, {2}, {1}]",
    "{0} = list({1})",
    "{0} = {{'in': {1}, 'of': {2}}}",
)

names = st.sampled_from(NAMES)
statements = st.one_of(
    st.builds("{0} = {1}".format, names, st.sampled_from(MAKERS)),
    st.builds(lambda form, *used: form.format(*used), st.sampled_from(PUTS), names, names),
    st.builds(lambda form, *used: form.format(*used), st.sampled_from(BINDINGS), names, names, names),
    st.builds("del {0}".format, names),
    st.builds("globals()['{0}'] = {1}".format, names, names),
    st.builds("def f_{0}(): return {0}".format, names),
)


def attempt(box: Box, statement: str) -> None:
    """Run it; most fit only some values, and change nothing when they do not fit."""
    box.run(f"try: {statement}\nexcept (TypeError, AttributeError, KeyError, IndexError, NameError, StopIteration): pass"
            if not statement.startswith("def ") else statement)  # fmt: skip


def by_name(values: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items()))


def check(box: Box, manifest: Manifest) -> Box:
    assert dropped(manifest) == {}
    again = box.restored(manifest)
    assert_same(by_name(box.held()), by_name(again.held()))
    return again


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(statements, max_size=8), min_size=1, max_size=5))
def test_every_step_comes_back_as_it_was(steps: list[list[str]]) -> None:
    box = Box()
    box.run(PRELUDE)
    for step in steps:
        for statement in step:
            attempt(box, statement)
        manifest = box.snap()
        check(box, manifest)
        whole = digests(box.snap_anew())
        assert digests(manifest) == {name: whole[name] for name in digests(manifest)}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(statements, max_size=12), st.lists(statements, max_size=8), names)
def test_a_restored_namespace_goes_on_like_the_original(before: list[str], after: list[str], read: str) -> None:
    """Also when variables load one by one, and through snapshots of what is not all loaded."""
    box = Box()
    box.run(PRELUDE)
    for statement in before:
        attempt(box, statement)
    again = box.restored(box.snap(), lazily=True)
    attempt(again, read)
    for statement in after:
        attempt(box, statement)
        attempt(again, statement)
    second = again.snap()
    assert dropped(second) == {}
    assert_same(by_name(box.held()), by_name(again.restored(second).held()))


class Stored(RuleBasedStateMachine):
    """Snapshots stay what they were, whatever happens after them."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        self.box.run(PRELUDE)
        self.kept: list[tuple[Manifest, list[str]]] = []
        self.told: list[str] = []

    @rule(statement=statements)
    def change(self, statement: str) -> None:
        self.told.append(statement)
        attempt(self.box, statement)

    @rule()
    def take(self) -> None:
        self.kept.append((self.box.snap(), list(self.told)))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        manifest, told = data.draw(st.sampled_from(self.kept))
        self.box, self.told = self.box.restored(manifest, lazily=True), list(told)

    @invariant()
    def oldest_is_unchanged(self) -> None:
        if self.kept:
            manifest, told = self.kept[0]
            expected = Box()
            expected.run(PRELUDE)
            for statement in told:
                attempt(expected, statement)
            assert_same(by_name(expected.held()), by_name(self.box.restored(manifest).held()))


TestStored = pytest.mark.filterwarnings("ignore")(Stored.TestCase)
TestStored.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
