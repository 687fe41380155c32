"""The hub as one file of Python source for the sandbox, standard library only."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from sandboxes.contract import MAX_LINE_BYTES

HEADER = f'''"""The rlmweb line: keeps the runner of a sandbox and leads to it. Made from sandboxes/remote and relay.py."""

from __future__ import annotations

MAX_LINE_BYTES = {MAX_LINE_BYTES}


class NotFound(Exception):
    pass


class CapacityUnavailable(Exception):
    pass

'''


@cache
def line_source() -> str:
    folder = Path(__file__).parent
    return HEADER + "".join(
        map(
            _part,
            (folder.parent / "runner_env.py", folder.parent / "relay.py", folder / "commands.py", folder / "hub.py"),
        )
    )


def _part(path: Path) -> str:
    """The source of a module without its imports of other parts."""
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    for statement in ast.parse(text).body:
        module = statement.module or "" if isinstance(statement, ast.ImportFrom) else ""
        if module.startswith(("sandboxes", "__future__")):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = ""
    return "".join(lines) + "\n"
