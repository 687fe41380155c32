"""The variables after a step that ran again, against those of the recorded snapshot.

Contents are compared by their digests. Equal values may have different ones: the entries of a dictionary in another order,
a value whose digest is that of its pickle. So where digests differ both values are looked at, each in a throw-away copy of
its own state, and compared element by element.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from runs.replay.inspect.differences import TREE_BYTES, TREE_CHARS, Difference, Entry, answer_of
from runs.replay.inspect.errors import InspectError
from runs.replay.inspect.inside import program
from runs.replay.inspect.inside.difference import _rlmweb_difference
from runs.replay.inspect.inside.plain import _rlmweb_plain
from runs.replay.inspect.variables import states_by_name
from runs.replay.reexecution.causes import ADDRESS, modulo_addresses
from runs.replay.reexecution.cells import NOTE_ADDRESSES, Comparison
from runs.replay.reexecution.report import MAX_FINDINGS, Finding, shown_pair
from runs.services.snapshots.scratch import Evaluates, ScratchBox, open_scratch
from sandboxes.errors import SandboxError
from sandboxes.manifest import Manifest, VariableState
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

NOT_THERE = "(not there)"
NOTE_FORM = "the form of values that are equal, as the order in a dictionary"
MAX_LOOKED_AT = 12
"""Variables of one step whose values are looked at."""
MAX_CHANGES = 40
CHANGES_CHARS = 8_000
MAX_LINES = 100
LINE_CHARS = 1_000
"""Bounds for what comes out of a sandbox that code may have taken over."""
_CUT = re.compile("…|<repr failed|<holds itself, or is nested too deeply>")


@dataclass(frozen=True, slots=True)
class Pair:
    """One name in both states; None where it is not there."""

    name: str
    was: VariableState | None
    now: VariableState | None

    @property
    def preview_was(self) -> str:
        return self.was.preview if self.was is not None else NOT_THERE

    @property
    def preview_now(self) -> str:
        return self.now.preview if self.now is not None else NOT_THERE


def different(recorded: Manifest, now: Manifest) -> list[Pair]:
    """Names whose contents have other digests. What one side could not hold has none and is not compared."""
    before, after = states_by_name(recorded), states_by_name(now)
    pairs = [Pair(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    return [pair for pair in pairs if not _same_digest(pair.was, pair.now)]


def _same_digest(was: VariableState | None, now: VariableState | None) -> bool:
    if was is None or now is None:
        return False
    return was.digest == now.digest or not (was.digest and now.digest)


def compare_variables(pairs: list[Pair], recorded: Snapshot, box: ScratchBox, found: Comparison) -> None:
    """Add what differs to `found`. `pairs` have different digests; `box` is in the state of now."""
    if not pairs:
        return
    with _both(recorded, box) as sides:
        for place, pair in enumerate(pairs):
            if len(found.findings) >= MAX_FINDINGS:
                return
            _compare(pair, sides if place < MAX_LOOKED_AT else None, found)


def _compare(pair: Pair, sides: tuple[Evaluates, Evaluates] | None, found: Comparison) -> None:
    changes: list[str] = []
    if pair.was is not None and pair.now is not None and sides is not None:
        trees = _trees(pair.name, *sides)
        if trees is not None:
            note = equal_by_value(*trees)
            if note is not None:
                found.note(note)
                return
            changes = _changes(sides[0], *trees)
    was, now = shown_pair(pair.preview_was, pair.preview_now)
    found.findings.append(Finding("variable", 0, pair.name, was, now, changes))


def equal_by_value(was: str, now: str) -> str | None:
    """What to note of two trees that show equal values; None when they do not, or not all of the values."""
    if _normal(was) == _normal(now):
        note = NOTE_FORM
    elif _normal(modulo_addresses(was)) == _normal(modulo_addresses(now)):
        note = NOTE_ADDRESSES
    else:
        return None
    return note if all(_is_whole(json.loads(each)) for each in (was, now)) else None


def _normal(tree: str) -> Any:
    """The tree with its mappings in one order: two equal dictionaries may differ in theirs."""

    def walk(node: Any) -> Any:
        if node["k"] == "items":
            return {**node, "v": sorted(([key, walk(each)] for key, each in node["v"]), key=lambda item: str(item[0]))}
        return {**node, "v": [walk(each) for each in node["v"]]} if node["k"] == "list" else node

    return walk(json.loads(tree))


def _is_whole(node: Any) -> bool:
    """Does the tree hold all of the value? A leaf that shows an address shows where an object is, and not what."""
    if node["k"] == "leaf":
        return not _CUT.search(node["v"]) and not ADDRESS.search(node["v"])
    if node["k"] == "text":
        return True  # what was cut has its hash
    if len(node["v"]) != node["n"]:
        return False
    if node["k"] == "set":
        return not any(_CUT.search(each) or ADDRESS.search(each) for each in node["v"])
    members = [each for _, each in node["v"]] if node["k"] == "items" else node["v"]
    return all(_is_whole(each) for each in members)


@contextmanager
def _both(recorded: Snapshot, box: ScratchBox) -> Iterator[tuple[Evaluates, Evaluates] | None]:
    """Two that evaluate, in the recorded state and in a copy of the present one; None where that is not possible."""
    try:
        with open_scratch(recorded) as then, box.copy() as copy:
            yield then, copy
            return
    except SandboxError as error:
        logger.info("values are not looked at: %s", error)
    yield None


def _trees(name: str, then: Evaluates, now: Evaluates) -> tuple[str, str] | None:
    code = program(_rlmweb_plain, TREE_CHARS, 0, variable=name)
    try:
        was, is_now = (answer_of(each, code, TREE_BYTES).decode() for each in (then, now))
        _normal(was), _normal(is_now)
    except (InspectError, SandboxError, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.info("%s is not looked at: %s", name, error)
        return None
    return was, is_now


def _changes(box: Evaluates, was: str, now: str) -> list[str]:
    """What differs between two trees, a line for each element. Compared in the sandbox, like all that comes from one."""
    code = program(_rlmweb_difference, was, now, "", MAX_CHANGES, CHANGES_CHARS)
    try:
        # The standard library reads halves of surrogate pairs, which texts of a REPL may hold.
        difference = msgspec.convert(json.loads(answer_of(box, code, TREE_BYTES)), Difference)
    except (InspectError, SandboxError, ValueError, RecursionError) as error:
        logger.info("values are not compared: %s", error)
        return []
    lines = [line for entry in difference.entries[:MAX_CHANGES] for line in _lines(entry)]
    return [line[:LINE_CHARS] for line in lines[:MAX_LINES]]


def _lines(entry: Entry) -> list[str]:
    if entry.what == "text":
        return entry.lines
    path = entry.path or "value"
    if entry.what == "removed":
        return [f"{path}: {entry.before} is missing"]
    if entry.what == "added":
        return [f"{path}: {entry.after} is new"]
    return [f"{path}: {entry.before} → {entry.after}"]
