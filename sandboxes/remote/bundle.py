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

EARLY = """
if __name__ == "__main__" and answered(sys.argv[1:]):
    sys.exit()

"""
"""Commands and files come first and go no further: what the hub imports costs them more than all they do."""


@cache
def line_source() -> str:
    folder = Path(__file__).parent
    rest = (folder.parent / "runner_env.py", folder.parent / "relay.py", folder / "hub.py")
    return HEADER + _part(folder / "commands.py") + EARLY + "".join(map(_part, rest))


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
