"""The catalogue's entry for the standard library."""

from __future__ import annotations

import random
import sys

from runs.examples.stdlib import lines, questions
from runs.examples.stdlib.library import Library
from runs.examples.stdlib.sources import context_files, write_context
from runs.examples.types import Example, Order, Task

_ASKS: dict[str, questions.Ask] = {
    "lines-containing": lines.lines_containing,
    "base-class": questions.base_class,
    "defines-class": questions.defines_class,
    "parameter-count": questions.parameter_count,
    "imports-module": questions.imports_module,
    "package-lines": questions.package_lines,
    "most-functions": questions.most_functions,
    "longest-file": questions.longest_file,
    "defines-function": questions.defines_function,
    "constant-value": questions.constant_value,
    "word-occurrences": lines.word_occurrences,
    "lines-starting": lines.lines_starting,
}


def build(order: Order) -> Task:
    files = context_files(order.seed, order.size_bytes)
    rng = random.Random(f"stdlib {order.question_kind} {order.seed}")
    question, expected = _ASKS[order.question_kind](Library(files), rng)
    write_context(files, order.path)
    version = ".".join(map(str, sys.version_info[:3]))
    note = (
        f"{len(files):,} source files of the standard library of Python {version}, joined by header lines such as "
        "“# === file: json/decoder.py ===”."
    )
    return Task(question, expected, note)


EXAMPLE = Example(
    slug="stdlib",
    title="Python's standard library",
    summary="The source code of Python's own library as one long text. Answers are checked against its syntax trees.",
    question="Which class does the class JSONDecodeError inherit from?",
    question_kinds=tuple(_ASKS),
    builder=build,
    size_bytes_hint=12_000_000,
    min_size_bytes=2_000_000,
    small_model_kinds=("lines-containing", "base-class", "constant-value", "word-occurrences", "lines-starting"),
)
