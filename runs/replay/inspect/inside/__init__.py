"""Programs that run in a sandbox beside the variables they look at: plain functions, sent there as source.

Standard library only, Python 3.9 on. A function is sent alone, so it holds all that it needs, imports inside, and takes
the built-ins by import: code of a session often binds `list`, `sum` or `print` itself. It names neither `globals` nor
`exec`: such code would make the runner load everything, and not only the variable.

What they print is a claim by hostile code like any output of a sandbox.
"""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Callable
from functools import cache


def program(function: Callable[..., None], *literals: object, variable: str | None = None) -> str:
    """Code that defines `function` and calls it: with the variable of that name first, when one is named."""
    arguments = [repr(literal) for literal in literals]
    if variable is not None:
        arguments.insert(0, reference(variable))
    return f"{_source(function)}\n{function.__name__}({', '.join(arguments)})\n"


def reference(name: str) -> str:
    """An expression for the variable. A name that is none to the parser can only have come by way of `globals()`."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"globals()[{name!r}]"


@cache
def _source(function: Callable[..., None]) -> str:
    """The function without annotations, whose names the session does not have."""
    tree = ast.parse(inspect.getsource(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(tree)
