"""Join the parts of the runner into the one file that a sandbox gets.

The parts import each other by `from sandboxes.runner.x import y`; joined in order they share one namespace, so these
imports are left out. `tests/sandboxes/runner/test_bundle.py` holds the parts to unique names.
"""

from __future__ import annotations

import ast
import base64
import zlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PARTS = (
    "wire",
    "syscalls",
    "protect",
    "guard",
    "framelog",
    "output",
    "checks",
    "outbox",
    "forkline",
    "watcher",
    "strays",
    "process",
    "cell",
    "options",
    "queries",
    "namespace",
    "streams",
    "tracking",
    "repeatable",
    "surroundings",
    "classes",
    "reducers",
    "byvalue",
    "pickles",
    "sharing",
    "contentdigest",
    "capture",
    "restoring",
    "workspace",
    "runcode",
    "memory",
    "lazy",
    "writer",
    "scratch",
    "parked",
    "repl",
    "taken",
    "writing",
    "snapshots",
    "evaluations",
    "setups",
    "restores",
    "results",
    "hostinput",
    "supervisor",
    "main",
)
HEADER = (
    '"""The rlmweb runner: serves code cells inside a sandbox. Made from sandboxes/runner; see the protocol there."""\n'
)


def _left_out(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").startswith(("sandboxes.runner", "__future__"))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _part(name: str) -> str:
    """The source of one part without its docstring and its imports of other parts."""
    text = (Path(__file__).parent / f"{name}.py").read_text()
    lines = text.splitlines(keepends=True)
    for statement in ast.parse(text).body:
        if _left_out(statement):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = ""
    return f"\n# {name}.py\n" + "".join(lines)


def _cloudpickle() -> str:
    """The source of cloudpickle as it travels: the sandbox's Python need not have the package."""
    found = find_spec("cloudpickle.cloudpickle")
    assert found is not None
    assert found.origin is not None
    return base64.b85encode(zlib.compress(Path(found.origin).read_bytes(), 9)).decode()


@cache
def source(*, entry: bool = True) -> str:
    """The runner as one file of Python source. Without `entry` it only defines: a launcher calls `main` itself."""
    parts = [_part(name) for name in PARTS]
    place = PARTS.index("byvalue")
    parts[place] = parts[place].replace('CLOUDPICKLE_SOURCE = ""', f"CLOUDPICKLE_SOURCE = {_cloudpickle()!r}", 1)
    if not entry:
        parts[-1] = parts[-1].rpartition('\nif __name__ == "__main__":')[0] + "\n"
    return HEADER + "\nfrom __future__ import annotations\n" + "".join(parts)
