"""The variables that a fork changes, as code of its first cell, and a trial of that code before there is a fork."""

from __future__ import annotations

import json
import keyword
from collections.abc import Sequence

from runs.replay.changes import VariableChange
from runs.replay.forks.errors import CannotFork
from runs.services.snapshots.scratch import ScratchAnswer, open_scratch
from sandboxes.models import Snapshot

MAX_CODE_CHARS = 1_000_000
TRIAL_TIMEOUT_S = 20.0
NO_MODELS = "no model is asked while variables are changed"


def code_of(changes: Sequence[VariableChange]) -> str:
    """The cell that makes all the changes. Raises `CannotFork` that names the variable."""
    code = "\n".join(_statement(change) for change in changes)
    if len(code) > MAX_CODE_CHARS:
        raise CannotFork(
            f"The changed variables have {len(code):,} characters of code; the most is {MAX_CODE_CHARS:,}."
        )
    return code


def try_changes(snapshot: Snapshot, changes: Sequence[VariableChange]) -> None:
    """Make the changes in a scratch sandbox restored from `snapshot`. Raises `CannotFork` with the error of the first
    that fails, `SnapshotError`, other `SandboxError`s."""
    code_of(changes)
    with open_scratch(snapshot) as box:
        for change in changes:
            outcome = box.run_cell(
                _statement(change), timeout_s=TRIAL_TIMEOUT_S, answer=lambda *_: ScratchAnswer(error=NO_MODELS)
            )
            error = outcome.finished.error
            if error is not None:
                raise CannotFork(f"The variable {change.name} could not be changed: {error.type}: {error.message}")
            if outcome.finished.status != "ok":
                raise CannotFork(
                    f"The variable {change.name} could not be changed: its expression ended as"
                    f" {outcome.finished.status} (after at most {TRIAL_TIMEOUT_S:g} s)."
                )


def _statement(change: VariableChange) -> str:
    name, value = change.name, change.expression
    if not name.isidentifier() or keyword.iskeyword(name):
        raise CannotFork(f"{name[:80]!r} is not a name of a variable.")
    if change.kind == "delete":
        return f"del {name}"
    if change.kind == "text":
        return f"{name} = {value!r}"
    if change.kind == "json":
        return f"{name} = __import__('json').loads({_checked_json(name, value)!r})"
    return f"{name} = ({_checked_expression(name, value)}\n)"


def _checked_json(name: str, value: str) -> str:
    try:
        json.loads(value)
    except (ValueError, RecursionError) as error:
        raise CannotFork(f"The new value of {name} is not JSON: {error}.") from error
    return value


def _checked_expression(name: str, value: str) -> str:
    expression = value.strip()
    try:
        compile(expression, name, "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise CannotFork(f"The new value of {name} is not a Python expression: {error}.") from error
    return expression
