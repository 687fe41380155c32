"""What a text states as its answer: pure reading of prose, used by the checks in `answers`.

A model answers in prose, in a Python literal, in Markdown. Form is forgiven, content is not: a text that names two
candidates has not answered, unless one of them is marked as the answer.
"""

from __future__ import annotations

import re
from decimal import Decimal

MAX_ANSWER_CHARS = 20_000
"""An answer to one of these questions is short. What is longer is read up to here."""
MAX_STATEMENTS = 20
"""Of a text that marks an answer more often than this, the last ones are read."""

_MARKER = re.compile(
    r"""\b(?:final\s+)?(?:answer|label|result)\b\s*(?:is\b|was\b|[:=])\s*:?   # The answer is
      | \bFINAL\(                                                         # FINAL(
      | \\boxed\{                                                         # \boxed{
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BRACKETS = {"(": ")", "{": "}"}
# A sentence that takes back or adds to the one before belongs to what is stated.
_SENTENCE_END = re.compile(
    r"[.!?](?=\s+(?!(?:or|no|not|but|wait|actually|alternatively|maybe|perhaps)\b)\D|\s*$)", re.I
)
_UNITS = r"ms|s|KB|MB|GB|B|bytes?|times|x"
_NUMBER = re.compile(
    rf"""(?<![\w.\-/])(?<!\d:)              # not inside a word, a path, a version or a name such as host-3
        (?P<sign>-)?[$€£]?
        (?P<number>\d{{1,3}}(?:[,_]\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?)
        (?:{_UNITS})?                       # 742ms, 17x
        (?![\w/]|-\w|[.,:]\d)               # nor the beginning of a date, a time or a version
    """,
    re.VERBOSE,
)
_DENIED = re.compile(r"(?:\bnot|n't|\brather than|\binstead of|\bneither|\bnor|\bno longer)\W+(?:\w+\W+){0,2}$", re.I)
_DENIAL_REACH_CHARS = 40
_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.I)


def claims(text: str) -> str:
    """The part of a text that states the answer: what it marks as the answer, or all of it where nothing is marked.

    Every marked statement counts, so "The answer is 5. No, the answer is 6." claims both.
    """
    text = text[:MAX_ANSWER_CHARS]
    markers = list(_MARKER.finditer(text))[-MAX_STATEMENTS:]
    marked = [_stated(marker.group(), text[marker.end() : marker.end() + MAX_ANSWER_CHARS // 4]) for marker in markers]
    return "\n".join(marked) or text


def numbers_in(text: str) -> list[Decimal]:
    """Distinct numbers that a text states, in order; those that it denies ("not 5") are left out."""
    found = [
        Decimal((match["sign"] or "") + re.sub("[,_]", "", match["number"]))
        for match in _NUMBER.finditer(text)
        if not denied(text, match.start())
    ]
    if not found and not re.search(r"\d", text):
        found = [Decimal(_WORDS.index(word.lower())) for word in _WORD.findall(text)]
    return list(dict.fromkeys(found))


def denied(text: str, position: int) -> bool:
    """Is what stands at this position denied by the words before it?"""
    before = text[max(0, position - _DENIAL_REACH_CHARS) : position]
    return bool(_DENIED.search(re.split(r"[.;\n]|\bbut\b", before)[-1]))


def names_in(text: str, candidates: frozenset[str]) -> set[str]:
    """Those candidates (lower case) that a text states as whole words, case ignored, denials left out.

    The longest candidate wins where one is part of another, so "billing error" does not also state "billing".
    """
    if not candidates:
        return set()
    longest_first = sorted(candidates, key=lambda name: (-len(name), name))
    pattern = re.compile(rf"(?<![\w]){'(?:' + '|'.join(map(re.escape, longest_first)) + ')'}(?![\w])", re.I)
    return {m.group(0).lower() for m in pattern.finditer(text) if not denied(text, m.start())}


def hedges(text: str, name: str) -> bool:
    """Does the text offer something else beside the name: "Foo or Bar", "either"?"""
    around = re.escape(name)
    return bool(re.search(rf"\beither\b|{around}\W{{1,4}}or\W|\Wor\W{{1,4}}(?:\w+\W+)?{around}(?!\w)", text, re.I))


def items_in(text: str) -> list[str]:
    """A short list taken apart: bullets, brackets, quotes and separators removed."""
    parts = re.split(r"[,;\n]|\s+and\s+", text)
    stripped = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", part).strip(" \t\r[](){}'\"`*.") for part in parts)
    return [part for part in stripped if part]


def _stated(marker: str, rest: str) -> str:
    """What stands behind a marker: in its brackets, in the rest of its sentence, or in the lines below it."""
    closing = _BRACKETS.get(marker[-1])
    if closing is not None:
        return rest.split(closing)[0]
    line = rest.split("\n")[0]
    if not line.strip(" *_`"):
        return rest
    end = _SENTENCE_END.search(line)
    return line[: end.start()] if end else line
