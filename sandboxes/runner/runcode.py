"""Compile and run the code of a cell; the value of a last expression; how a value is shown."""

from __future__ import annotations

from sandboxes.runner.wire import clean, clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ONLY_TREE = 0x400  # ast.PyCF_ONLY_AST


class NoValue:
    """The code does not end in an expression."""


class Compiled:
    """Code of a cell, and its last expression apart when its value is asked for."""

    def __init__(self, code: str, name: str, *, show: bool = False) -> None:
        """Raises `SyntaxError` or `ValueError`."""
        self.last: Any = None
        if not show:
            self.body = compile(code, name, "exec", dont_inherit=True)
            return
        import _ast

        tree: Any = compile(code, name, "exec", _ONLY_TREE, True)
        if tree.body and isinstance(tree.body[-1], _ast.Expr):
            last = _ast.Expression(body=tree.body.pop().value)
            self.last = compile(last, name, "eval", dont_inherit=True)
        self.body = compile(tree, name, "exec", dont_inherit=True)

    def parts(self) -> list[Any]:
        return [self.body] if self.last is None else [self.body, self.last]

    def run(self, values: dict[str, Any]) -> Any:
        """Run it in `values`; the value of the last expression, or `NoValue`."""
        exec(self.body, values)  # nosec B102  # in the sandbox: this is what a REPL does
        return NoValue if self.last is None else eval(self.last, values)  # noqa: S307  # nosec B307  # what a REPL does


def shown(value: Any, limit: int) -> str:
    """`repr(value)`, clean and at most about `limit` characters. Runs code of the value's type."""
    if type(value) in (str, bytes) and len(value) > limit:
        return f"{clean(repr(value[:limit]))}... [{len(value):,} in all]"
    return clip(clean(repr(value)), limit)
