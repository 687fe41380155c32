"""Questions about the text itself: lines and words. They are the ones that small models can answer.

The texts asked for are fixed lists and not drawn from the source, so that the questions read well. A text is only asked
for where the near readings of the question agree (`splitlines` or newlines, words or parts of words).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from runs.examples.answers import NumberAnswer
from runs.examples.stdlib.library import Library
from runs.examples.stdlib.questions import Question
from runs.examples.types import NoQuestionFits

_CONTAINED = (
    "raise NotImplementedError", "raise ValueError", "raise TypeError", "except OSError", "except KeyError",
    "except AttributeError", "@property", "@staticmethod", "@classmethod", "yield from", "async def", "super().__init__",
    "return NotImplemented", "import asyncio", "__slots__", "DeprecationWarning", "# XXX", "# TODO", "finally:",
)  # fmt: skip
_BEGINNINGS = ("class ", "def ", "import ", "from ", "async def ", "@", "try:", "if __name__", "    def __init__(")
_WORDS = (
    "asyncio", "backslash", "workaround", "historical", "traceback", "semaphore", "deadlock", "subinterpreter",
    "hexadecimal", "timestamp", "mailbox", "whitespace", "placeholder", "pathname", "checksum", "Unicode", "daemon",
    "mutable", "recursion", "heuristic", "singleton", "subprocess", "bytecode", "docstring", "coroutine", "exponent",
)  # fmt: skip
_MIN_COUNT = 3


def lines_containing(library: Library, rng: random.Random) -> Question:
    text, count = _first_countable("lines-containing", rng, _CONTAINED, lambda text: _lines_with(library, text))
    return f'How many lines contain "{text}"?', NumberAnswer(str(count), mentioned=_numbers_of(text))


def lines_starting(library: Library, rng: random.Random) -> Question:
    text, count = _first_countable("lines-starting", rng, _BEGINNINGS, lambda text: _lines_from(library, text))
    return f'How many lines start with "{text}"?', NumberAnswer(str(count), mentioned=_numbers_of(text))


def word_occurrences(library: Library, rng: random.Random) -> Question:
    word, count = _first_countable("word-occurrences", rng, _WORDS, lambda word: _occurrences(library, word))
    return f'How many times does "{word}" occur? Case matters.', NumberAnswer(str(count))


def _first_countable(
    kind: str, rng: random.Random, texts: Sequence[str], count: Callable[[str], int | None]
) -> tuple[str, int]:
    for text in rng.sample(texts, len(texts)):
        found = count(text)
        if found is not None and found >= _MIN_COUNT:
            return text, found
    raise NoQuestionFits(kind)


def _lines_with(library: Library, text: str) -> int:
    return library.count_lines(lambda line: text in line)


def _lines_from(library: Library, text: str) -> int | None:
    if any(not file.plain_lines for file in library.files):
        # What stands behind a form feed starts a line for `splitlines` and does not for everyone else.
        return None
    return library.count_lines(lambda line: line.startswith(text))


def _occurrences(library: Library, word: str) -> int | None:
    """None where the word is also a part of other words."""
    anywhere = library.count_occurrences(lambda text: text.count(word))
    return anywhere if anywhere == library.count_occurrences(lambda text: _whole_words(text, word)) else None


def _whole_words(text: str, word: str) -> int:
    # A pattern that begins with the word itself is searched many times faster than one that begins with \b.
    return sum(not _in_a_word(text, m.start()) for m in re.finditer(rf"{word}\b", text))


def _in_a_word(text: str, position: int) -> bool:
    before = text[position - 1] if position else ""
    return before.isalnum() or before == "_"


def _numbers_of(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", text))
