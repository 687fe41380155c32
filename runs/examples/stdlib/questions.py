"""Questions about definitions, parameters, imports and sizes. The subject of each is a seeded choice among those for
which there is one clear answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from runs.examples.answers import Expected, FilesAnswer, NameAnswer, NumberAnswer
from runs.examples.stdlib.facts import FileFacts
from runs.examples.stdlib.library import Library
from runs.examples.types import NoQuestionFits

Question = tuple[str, Expected]
Ask = Callable[[Library, random.Random], Question]

_Subject = TypeVar("_Subject")
_FILES_AS = "Answer with the file names as they stand in the header lines."
_FILE_AS = "Answer with the file name as it stands in its header line."
_MIN_NAME_CHARS = 7
"""A shorter name is likely to be a part of other words, and the question would be about those."""
_WRONG_BASES = 150
"""Base classes that a wrong answer is recognised by: the most frequent ones."""


def choose(kind: str, rng: random.Random, subjects: Sequence[_Subject]) -> _Subject:
    if not subjects:
        raise NoQuestionFits(kind)
    return rng.choice(subjects)


def base_class(library: Library, rng: random.Random) -> Question:
    subjects = sorted(
        (name, base)
        for file in library.files
        for name, base in file.classes
        if base not in ("", "object") and library.classes[name] == 1 and len(name) >= _MIN_NAME_CHARS
    )
    name, base = choose("base-class", rng, subjects)
    # The class itself stands in most good answers ("class Spam(Eggs)"), so it is no sign of a wrong one.
    others = [other for other, _ in library.bases.most_common(_WRONG_BASES) if other not in (base, name)]
    return f"Which class does the class {name} inherit from?", NameAnswer(base, tuple(others))


def defines_class(library: Library, rng: random.Random) -> Question:
    subjects = [
        (name, files)
        for name, files in sorted(library.files_of_class.items())
        if 1 <= len(files) <= 4 and len(name) >= _MIN_NAME_CHARS
    ]
    name, files = choose("defines-class", rng, subjects)
    return f"Which files define a class named {name}? {_FILES_AS}", FilesAnswer(tuple(files))


def defines_function(library: Library, rng: random.Random) -> Question:
    found = library.files_of_top_function
    name = choose("defines-function", rng, sorted(name for name, files in found.items() if 3 <= len(files) <= 9))
    question = f"Which files define a function named {name} at the top level of the module (not a method)? {_FILES_AS}"
    return question, FilesAnswer(tuple(found[name]))


def parameter_count(library: Library, rng: random.Random) -> Question:
    counts = library.parameters
    subjects = sorted(name for name, n in counts.items() if 10 <= n <= 500 and name not in ("self", "cls"))
    name = choose("parameter-count", rng, subjects)
    question = (
        f"How many functions and methods (def or async def, no lambdas) have a parameter named {name}? "
        "Answer with one number."
    )
    return question, NumberAnswer(str(counts[name]))


def imports_module(library: Library, rng: random.Random) -> Question:
    importers = library.importers
    # Only modules at the top: `from a import b` may or may not import a module `a.b`, which its text does not tell.
    subjects = sorted(
        name for name, files in importers.items() if len(files) >= 3 and "." not in name and not name.startswith("_")
    )
    name = choose("imports-module", rng, subjects)
    question = (
        f"How many files import the module {name}, with `import {name}` or `from {name} import ...`, anywhere in the "
        f"file? A submodule such as `{name}.x` counts as well. Answer with one number."
    )
    return question, NumberAnswer(str(len(importers[name])))


def package_lines(library: Library, rng: random.Random) -> Question:
    subjects = sorted(
        name
        for name, files in library.by_package.items()
        if len(files) >= 3 and all(file.plain_lines for file in files)
    )
    name = choose("package-lines", rng, subjects)
    question = (
        f"How many lines do the files of the package {name} (names that begin with {name}/) have in total? "
        "Header lines do not count. Answer with one number."
    )
    return question, NumberAnswer(str(sum(file.lines for file in library.by_package[name])))


def most_functions(library: Library, rng: random.Random) -> Question:
    question, file = _largest("most-functions", library, rng, lambda file: file.functions)
    text = f"Which file{question} defines the most functions and methods (def or async def, at any depth)? {_FILE_AS}"
    return text, FilesAnswer((file.name,))


def longest_file(library: Library, rng: random.Random) -> Question:
    question, file = _largest("longest-file", library, rng, lambda file: file.lines)
    return f"Which file{question} has the most lines? {_FILE_AS}", FilesAnswer((file.name,))


def constant_value(library: Library, rng: random.Random) -> Question:
    subjects = sorted(
        (name, value)
        for file in library.files
        for name, value in file.constants
        if value >= 10 and library.bound[name] == 1 and len(name) >= _MIN_NAME_CHARS
    )
    name, value = choose("constant-value", rng, subjects)
    return f"What number is {name} set to?", NumberAnswer(str(value))


def _largest(
    kind: str, library: Library, rng: random.Random, size: Callable[[FileFacts], int]
) -> tuple[str, FileFacts]:
    """The largest file of the whole context or of one package: where, in words, and which. No ties."""
    places = [("", library.files)] + [
        (f" of the package {name}", files) for name, files in sorted(library.by_package.items()) if len(files) >= 4
    ]
    clear = []
    for words, files in places:
        first, second = sorted(files, key=size, reverse=True)[:2] if len(files) > 1 else (None, None)
        if first is not None and second is not None and size(first) > size(second):
            clear.append((words, first))
    return choose(kind, rng, clear)
