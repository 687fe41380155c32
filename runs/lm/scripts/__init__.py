"""Built-in scripts by name: `scripted:tour` and those of tests and benchmarks. Each module says what it is for."""

from __future__ import annotations

import importlib

import msgspec

from runs.lm.errors import LmBadRequest, LmUnknownModel
from runs.lm.script import Script

MODULES: dict[str, str] = {
    "tour": "runs.lm.scripts.tour",
    "score_chunks": "runs.lm.scripts.scoring",
    "measure": "runs.lm.scripts.loops",
    "hundred_steps": "runs.lm.scripts.loops",
    "fan_out": "runs.lm.scripts.leaves",
    "many_leaves": "runs.lm.scripts.leaves",
    "flaky": "runs.lm.scripts.leaves",
    "deep_tree": "runs.lm.scripts.trees",
}
"""Script to module. A module's `SCRIPTS` maps the name to (options, builder)."""


def built_in_script(name: str, options: object = None) -> Script:
    """The script called `name`, built with `options` (plain JSON). Raises `LmUnknownModel` and `LmBadRequest`."""
    if name not in MODULES:
        raise LmUnknownModel(f"There is no script {name!r}; there are {', '.join(MODULES)}.")
    kind, build = importlib.import_module(MODULES[name]).SCRIPTS[name]
    try:
        chosen = msgspec.convert(options or {}, kind)
    except msgspec.ValidationError as error:
        raise LmBadRequest(f"The options of {name} cannot be used: {error}") from error
    script: Script = build(chosen)
    return script
