"""Texts of a recorded session, whole where they are compared and bounded where they are shown."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from runs.blobs import BlobError, BlobStore
from runs.events.types import BlobText, Text

MAX_DIFF_LINES = 1_500
"""Longer texts are compared from their first differing line on, so many lines of each."""
CONTEXT_LINES = 3
SHOWN_CHARS = 60_000


def same(one: Text | None, other: Text | None) -> bool:
    """Whether two recorded texts are equal. Long ones are compared by their hash."""
    if isinstance(one, BlobText) and isinstance(other, BlobText):
        return one.sha256 == other.sha256
    return one == other


def whole(text: Text | None, store: BlobStore) -> str:
    """The text, its first `SHOWN_CHARS` where it is long; head and tail where the content is gone."""
    if text is None:
        return ""
    if isinstance(text, BlobText):
        try:
            return store.slice(text.sha256, 0, SHOWN_CHARS).decode("utf-8", "replace")
        except BlobError:
            return f"{text.head}\n…\n{text.tail}"
    return text[:SHOWN_CHARS]


class DiffLine(NamedTuple):
    """`mark`: ` ` in both, `-` in the first only, `+` in the second only, `…` lines left out."""

    mark: Literal[" ", "-", "+", "…"]
    text: str


def diff(one: str, other: str) -> list[DiffLine]:
    """A line diff with a little context. Empty when the texts are equal."""
    if one == other:
        return []
    left, right = one.splitlines(), other.splitlines()
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    start = max(0, start - CONTEXT_LINES)
    cut_left, cut_right = left[start : start + MAX_DIFF_LINES], right[start : start + MAX_DIFF_LINES]
    lines = [DiffLine("…", f"{start} equal lines")] if start else []
    for group in SequenceMatcher(None, cut_left, cut_right, autojunk=False).get_grouped_opcodes(CONTEXT_LINES):
        if lines and lines[-1].mark != "…":
            lines.append(DiffLine("…", ""))
        for what, a, b, c, d in group:
            if what == "equal":
                lines += [DiffLine(" ", text) for text in cut_left[a:b]]
            else:
                lines += [DiffLine("-", text) for text in cut_left[a:b]]
                lines += [DiffLine("+", text) for text in cut_right[c:d]]
    more = max(len(left), len(right)) - start - MAX_DIFF_LINES
    return [*lines, DiffLine("…", f"{more} more lines are not compared")] if more > 0 else lines
