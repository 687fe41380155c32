"""Which files of the standard library are in the context, and how they are joined to one text."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from runs.examples.stdlib.facts import FileFacts, file_facts
from runs.examples.types import ExampleError

ENOUGH_BYTES = 10_000_000
"""The context is the library without its tests where that is this much; where it is less, tests are added."""
HEADER = "# === file: {name} ==="

_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})
_TESTS = frozenset({"test", "tests", "idle_test"})

_known_facts: dict[str, FileFacts | None] = {}
"""Facts about files that were read already: to parse the library takes seconds, and it does not change under us."""


def context_files(seed: int, size_bytes: int | None) -> list[FileFacts]:
    """The files of one context in the order of their names.

    Without a size: the whole library, tests left out unless they are needed to reach `ENOUGH_BYTES`. With a size: a
    seeded choice of whole files that reaches it, or all files where the installation has no more.
    """
    library, tests = library_files()
    if size_bytes is None:
        return _first_files(library + tests, ENOUGH_BYTES, at_least=len(library))
    rng = random.Random(f"stdlib files {seed}")
    return _first_files(rng.sample(library, len(library)) + rng.sample(tests, len(tests)), size_bytes)


def write_context(files: list[FileFacts], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as context:
        for file in files:
            context.write(HEADER.format(name=file.name) + "\n")
            context.write(file_text(file.name))


def file_text(name: str) -> str:
    """The text of one file as the context has it: one kind of line end, and a line end at its end.

    Raises `UnicodeDecodeError`: the library's tests have files in other encodings.
    """
    text = (_root() / name).read_bytes().decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return text + "\n" if text and not text.endswith("\n") else text


def library_files() -> tuple[list[str], list[str]]:
    """Names of the library's files and of its tests, sorted. A distribution may come without tests."""
    root = _root()
    names = sorted(path.relative_to(root).as_posix() for path in _python_files(root)) if root.is_dir() else []
    library = [name for name in names if not _TESTS.intersection(Path(name).parts)]
    if not library:
        raise ExampleError(f"No source of the standard library was found in {root}: it has only compiled files.")
    tests = [name for name in names if _TESTS.intersection(Path(name).parts)]
    return library, tests


def _first_files(names: list[str], size_bytes: int, at_least: int = 0) -> list[FileFacts]:
    chosen: list[FileFacts] = []
    total = 0
    for number, name in enumerate(names):
        if total >= size_bytes and number >= at_least:
            break
        facts = _facts(name)
        if facts is not None:
            chosen.append(facts)
            total += facts.size_bytes + len(HEADER.format(name=name)) + 1
    return sorted(chosen, key=lambda file: file.name)


def _facts(name: str) -> FileFacts | None:
    """None for a file that is no UTF-8 Python: the tests have some on purpose, and nothing could be said about them."""
    if name not in _known_facts:
        try:
            _known_facts[name] = file_facts(name, file_text(name))
        except (SyntaxError, ValueError, RecursionError):
            _known_facts[name] = None
    return _known_facts[name]


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _python_files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            # A link could lead out of the library, or round in a circle.
            if path.name not in _NOT_LIBRARY and not path.is_symlink():
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path
