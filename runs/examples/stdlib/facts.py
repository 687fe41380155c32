"""What `ast` says about one file. Questions are answered from these facts, never by a search in the text."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FileFacts:
    """Facts about one file; small, so that they can be kept for the whole library."""

    name: str
    size_bytes: int
    lines: int
    plain_lines: bool
    """Do `str.splitlines` and counting newlines agree? They do not where a file has form feeds and the like."""
    functions: int = 0
    """`def` and `async def` at any depth, methods included; no lambdas."""
    parameters: Counter[str] = field(default_factory=Counter)
    """Number of functions that have a parameter of this name; no lambdas."""
    classes: list[tuple[str, str]] = field(default_factory=list)
    """Name and, where it is one plain name without keywords, the base of each class at any depth; else an empty base."""
    imports: set[str] = field(default_factory=set)
    """Modules imported absolutely anywhere in the file, with every package above them."""
    top_functions: set[str] = field(default_factory=set)
    """Functions defined at the top level of the module."""
    constants: list[tuple[str, int]] = field(default_factory=list)
    """Names that a top-level line sets to a decimal number, as `NAME = 123`."""
    bound: Counter[str] = field(default_factory=Counter)
    """How often each all-capitals name is bound anywhere."""

    @property
    def package(self) -> str:
        """The top-level package of the file; empty for a module that is in none."""
        return self.name.split("/")[0] if "/" in self.name else ""


def file_facts(name: str, text: str) -> FileFacts:
    """Raises `SyntaxError`, `ValueError` (null bytes) and `RecursionError` as `ast.parse` does."""
    with warnings.catch_warnings():
        # Invalid escapes in old files are the library's own affair.
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    lines = text.count("\n")
    facts = FileFacts(name, len(text.encode()), lines, plain_lines=len(text.splitlines()) == lines)
    for node in ast.walk(tree):
        _note(facts, node)
    _note_top_level(facts, tree, text)
    return facts


def _note(facts: FileFacts, node: ast.AST) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            facts.functions += 1
            facts.parameters.update(_parameters(node.args))
        case ast.ClassDef():
            plain = len(node.bases) == 1 and not node.keywords and isinstance(node.bases[0], ast.Name)
            facts.classes.append((node.name, node.bases[0].id if plain else ""))  # type: ignore[attr-defined]
        case ast.Import():
            for alias in node.names:
                facts.imports.update(_with_packages(alias.name))
        case ast.ImportFrom() if node.level == 0 and node.module:
            facts.imports.update(_with_packages(node.module))
        case ast.Name(ctx=ast.Store()) if node.id.isupper():
            facts.bound[node.id] += 1


def _note_top_level(facts: FileFacts, tree: ast.Module, text: str) -> None:
    lines = text.split("\n")
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                facts.top_functions.add(node.name)
            # `type` and not `isinstance`: True is an int.
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)) if type(value) is int:
                if lines[node.lineno - 1].startswith(f"{name} = {value}"):
                    facts.constants.append((name, value))


def _parameters(arguments: ast.arguments) -> set[str]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return {argument.arg for argument in (*named, *starred)}


def _with_packages(module: str) -> list[str]:
    """`a.b.c` imports `a`, `a.b` and `a.b.c`."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
