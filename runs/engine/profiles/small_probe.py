"""The built-in first cell of the small profile: a look at the context that a small model would not think of taking.

It runs in the sandbox like every cell and is shown as built in. It prints what the context looks like and the lines that
share the rarest words with the question; of a context that is many files joined by header lines it makes the dict `files`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_QUESTION_CHARS = 2_000

# In the sandbox: Python 3.9, nothing but the standard library. Lines of the context are printed indented, so that no
# line of it can pass for one of ours.
_CODE = r'''
import collections, csv, io, re


def _look(question, most_chars=200_000_000):
    if not isinstance(context, str):
        size = len(context) if hasattr(context, "__len__") else 1
        print(f"context: {size} items, looks like a {type(context).__name__}")
        print("first lines:")
        print("  " + repr(context)[:300])
        return None
    text = context[:most_chars]
    question = question or text.split("\n", 1)[0]
    found = list(re.finditer(r"^[-#/=<>* ]{1,20}file: (\S{1,300})[-#/=<>* ]{0,20}$", text, re.M))
    files = None
    if len(found) > 1:
        ends = [match.start() for match in found[1:]] + [len(text)]
        files = {match.group(1): text[match.end() + 1 : end] for match, end in zip(found, ends)}
    print(f"context: {len(context)} characters, {context.count(chr(10)) + 1} lines, looks like {_kind(text, files)}")
    print("task:", question[:300].replace("\n", " "))
    print("first lines:")
    for line in text[:4000].split("\n")[:4]:
        if line.strip():
            print("  " + line[:180])
    print("lines that share words with the question:")
    for line in _near(text, question):
        print("  " + line)
    return files


def _kind(text, files):
    if files:
        return f"{len(files)} source files; the dict `files` maps each file name to its text"
    lines = [line for line in text[:200_000].split("\n")[:200] if line.strip()]
    head = lines[0] if lines else ""
    for mark in ",;\t":
        rows = [line.count(mark) for line in lines[:6]]
        if len(lines) > 2 and rows[0] >= 2 and len(set(rows)) == 1 and not re.search(r"\d", head):
            return "CSV; columns: " + head.strip()[:200]
    dated = sum(bool(re.match(r"\W?\d{4}-\d\d-\d\d|\W?\w{3} +\d+ \d\d:|\W?\d\d:\d\d", line)) for line in lines[:50])
    if len(lines) > 5 and dated > len(lines[:50]) * 0.7:
        return "log lines"
    if len(lines) > 5 and sorted(map(len, lines))[len(lines) // 2] < 400:
        return "one item per line"
    return "prose"


def _near(text, question, most=3):
    words = {word.lower() for word in re.findall(r"[A-Za-z0-9_]{2,}", question)} - set(_STOP.split())
    words = {word[:-1] if len(word) > 4 and word.endswith("s") else word for word in words}
    low = text.lower()
    if len(low) != len(text):
        return []
    counts = {word: low.count(word) for word in words}
    rare = sorted((word for word in words if counts[word]), key=counts.get)[:4]
    scores = {}
    for word in rare:
        for match in list(re.finditer(re.escape(word), low))[:3000]:
            start = low.rfind("\n", 0, match.start()) + 1
            start = max(start, match.start() - 100)
            scores.setdefault(start, set()).add(word)
    # One rare word tells more than many frequent ones.
    best = sorted(scores, key=lambda start: (-sum(1 / counts[word] for word in scores[start]), start))[:most]
    return [text[start : start + 180].split("\n", 1)[0].strip() for start in best]


_STOP = """what which who whom where when how many much often is are was were the an of in on for to and or by with does
do did tell me list all distinct find give that there their its it this text from per each number numbers times time word
words occur occurs most least total sum average up answer one file files line lines have has name names named class
function functions as they stand at not case matters does context"""
files = _look(__QUESTION__)
if files is None:
    del files
del _look, _kind, _near, _STOP
'''


def probe_code(question: str) -> str:
    return _CODE.strip().replace("__QUESTION__", repr(question[:MOST_QUESTION_CHARS])) + "\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the probe printed, read back. `shape` is its first line without the name of the variable."""

    shape: str
    kind: str
    task: str
    first: tuple[str, ...]
    near: tuple[str, ...]


def read_probe(printed: str) -> Seen:
    """Everything is a claim of the sandbox: what is missing stays empty."""
    sections: dict[str, list[str]] = {}
    shape, task, current = "a text", "", ""
    for line in printed.split("\n"):
        if line.startswith("  "):
            sections.setdefault(current, []).append(line.strip())
        elif line.startswith("context: "):
            shape = line.removeprefix("context: ")
        elif line.startswith("task: "):
            task = line.removeprefix("task: ")
        else:
            current = line
    found = re.search(r"looks like (.*)", shape)
    first = tuple(sections.get("first lines:", ()))
    near = tuple(sections.get("lines that share words with the question:", ()))
    return Seen(shape, found.group(1) if found else "", task, first, near)
