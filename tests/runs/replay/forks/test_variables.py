"""The variables that a fork changes: as code, and tried before there is a fork."""

from __future__ import annotations

from typing import Any

import pytest

from runs.replay.changes import Changes, VariableChange
from runs.replay.forks.differences import differences_of
from runs.replay.forks.errors import CannotFork
from runs.replay.forks.variables import MAX_CODE_CHARS, code_of, try_changes
from runs.services.snapshots.reading import require_snapshot
from tests.runs.replay.forks.test_starting import GIVE, fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells


def test_every_kind_becomes_a_statement_that_says_what_was_meant() -> None:
    changes = [
        VariableChange("a", "1 + 1  # two"),
        VariableChange("b", '{"k": [1, null, "\\u00e9"]}', kind="json"),
        VariableChange("c", 'it\'s\n"quoted" \\ é', kind="text"),
        VariableChange("gone", kind="delete"),
    ]
    state: dict[str, Any] = {"gone": 1}
    exec(code_of(changes), state)  # noqa: S102  # what a fork runs, with values of this test
    assert (state["a"], state["b"], state["c"]) == (2, {"k": [1, None, "é"]}, 'it\'s\n"quoted" \\ é')
    assert "gone" not in state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (VariableChange("class", "1"), "'class' is not a name"),
        (VariableChange("a b", "1"), "not a name"),
        (VariableChange("a", ""), "value of a is not a Python expression"),
        (VariableChange("a", "1)\nimport os\n(2"), "value of a is not a Python expression"),
        (VariableChange("a", "{'k': 1}", kind="json"), "value of a is not JSON"),
        (VariableChange("a", "[" * 100_000, kind="json"), "value of a is not JSON"),
        (VariableChange("a", "x" * MAX_CODE_CHARS, kind="text"), "the most is 1,000,000"),
    ],
)
def test_what_cannot_be_a_change_is_refused_by_name(change: VariableChange, message: str) -> None:
    with pytest.raises(CannotFork, match=message):
        code_of([VariableChange("fine", "1"), change])


def test_differences_name_the_kind() -> None:
    changes = Changes(
        variables=[
            VariableChange("a", "[1]", kind="json"),
            VariableChange("b", kind="delete"),
            VariableChange("c", "2"),
        ]
    )
    found = [(each.what, each.after) for each in differences_of(changes, {}, {})]
    assert found == [("variable a", "JSON [1]"), ("variable b", "deleted"), ("variable c", "2")]


@pytest.mark.django_db(transaction=True)
def test_the_trial_names_the_first_change_that_fails_and_leaves_no_trace() -> None:
    source = run_cells("x = [1]\ny = 2", "x.append(y)")
    snapshot = require_snapshot(source, 0, 1)
    good = [VariableChange("x", "x + [y]"), VariableChange("y", kind="delete"), VariableChange("z", "len(x)")]
    try_changes(snapshot, good)
    with pytest.raises(CannotFork, match="variable w could not be changed: NameError"):
        try_changes(snapshot, [*good, VariableChange("w", "y"), VariableChange("v", "1 / 0")])
    with pytest.raises(CannotFork, match="variable nothing could not be changed: NameError"):
        try_changes(snapshot, [VariableChange("nothing", kind="delete")])
    reply = f"```repl\nx.append((z, 'y' in globals()))\n{GIVE}\n```"
    assert run_to_end(fork(source, 1, variables=good, reply=reply)).answer == "[1, 2, (2, False)]"
