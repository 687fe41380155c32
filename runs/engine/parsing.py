"""Reading a model's reply: code cells in fenced blocks, and answers outside them.

The published protocol runs every ```repl block in order; ```python and ```py blocks are taken as well, since models write
them. Fences may be indented or made of tildes, lines may end in CRLF, and a fence inside a string of the code (a prompt
that shows a format, say) does not close the block. A block that the reply's end cuts off is not run: half a program is not
what the model meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CELL_LANGUAGES = frozenset({"repl", "python", "py", "python3"})
_FENCE = re.compile(r"^[ \t]{0,8}(?P<fence>`{3,}+(?!.*`)|~{3,})[ \t]*(?P<language>[\w+-]*).*$")
_FINAL = re.compile(r"(?<![\w.])FINAL\(")
_FINAL_VAR = re.compile(r"(?<![\w.])FINAL_VAR\(\s*[\"'`]?(?P<name>[A-Za-z_]\w*)[\"'`]?\s*\)")
_MARKUP = " \t>*_`#-"
"""What may stand before an answer in its line: blanks and marks of Markdown."""
_MARKUP_CHARS = 40


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `closed` is False when the reply ended inside it."""

    language: str
    code: str
    closed: bool


def split_reply(reply: str) -> tuple[list[Block], str]:
    """The fenced blocks of a reply, and its text without them."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = reply.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position = 0
    while position < len(lines):
        opening = _FENCE.match(lines[position])
        if opening is None:
            prose.append(lines[position])
            position += 1
            continue
        language = opening["language"].lower()
        end = _closing(lines, position + 1, opening["fence"], of_code=language in CELL_LANGUAGES)
        body = lines[position + 1 : end]
        blocks.append(Block(language, _dedent(body), closed=end < len(lines)))
        position = end + 1
    return blocks, "\n".join(prose)


def code_cells(blocks: list[Block]) -> tuple[str, ...]:
    """The code to run: complete blocks in a language of the REPL that hold anything but blanks."""
    return tuple(block.code for block in blocks if block.closed and block.language in CELL_LANGUAGES and block.code)


def cut_off(blocks: list[Block]) -> bool:
    """Did the reply end inside a cell?"""
    return any(not block.closed and block.language in CELL_LANGUAGES for block in blocks)


def final_text(prose: str, *, anywhere: bool = False) -> str | None:
    """The argument of the last `FINAL(...)` in the text, up to its matching parenthesis, quotes around it removed.

    It counts at the start of a line, or `anywhere`: in the middle of a sentence capable models write about it.
    """
    found = _FINAL.finditer(prose)
    ends = [match.end() for match in found if anywhere or _starts_line(prose, match.start())]
    return _argument(prose, ends[-1]) if ends else None


def final_variable(prose: str, *, anywhere: bool = False) -> str | None:
    """The name in the last `FINAL_VAR(...)` of the text; where it counts as in `final_text`."""
    found = _FINAL_VAR.finditer(prose)
    names = [match["name"] for match in found if anywhere or _starts_line(prose, match.start())]
    return names[-1] if names else None


def _starts_line(text: str, position: int) -> bool:
    before = text[max(0, position - _MARKUP_CHARS) : position].rstrip(_MARKUP)
    return before.endswith("\n") or (not before and position <= _MARKUP_CHARS)


def _closing(lines: list[str], start: int, fence: str, *, of_code: bool) -> int:
    """The line that closes the block: the same fence, at least as long, and nothing else. Past the end when none does."""
    closing, quote = None, ""
    for position in range(start, len(lines)):
        stripped = lines[position].strip()
        if len(stripped) >= len(fence) and set(stripped) == {fence[0]}:
            if not quote:
                return position
            closing = position if closing is None else closing
        if of_code:
            quote = _open_string(lines[position], quote)
    # Every fence stood in a string that never ended: the code is broken, and the first fence is the likeliest end.
    return len(lines) if closing is None else closing


def _open_string(line: str, quote: str) -> str:
    """The triple quote that is open at the end of a line of Python, given the one open at its start; empty for none."""
    position = 0
    while position < len(line):
        char = line[position]
        if quote:
            if char == "\\":
                position += 2
            elif line.startswith(quote, position):
                position += len(quote)
                quote = ""
            else:
                position += 1
        elif char == "#":
            return ""
        elif char in "\"'":
            quote = char * 3 if line.startswith(char * 3, position) else char
            position += len(quote)
        else:
            position += 1
    return quote if len(quote) == 3 else ""


def _dedent(body: list[str]) -> str:
    """Remove the indentation that all lines share, as when the block stands in a list; blank ends go as well."""
    while body and not body[0].strip():
        body = body[1:]
    while body and not body[-1].strip():
        body = body[:-1]
    margins = [len(line) - len(line.lstrip(" \t")) for line in body if line.strip()]
    margin = min(margins, default=0)
    return "\n".join(line[margin:] if line.strip() else "" for line in body).rstrip()


def _argument(text: str, start: int) -> str:
    """From `start` to the parenthesis that closes it; to the end of the text when none does."""
    depth, quote, first, position = 1, "", True, start
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif first and char in "\"'":
            # A quote counts only around the whole argument: an apostrophe in prose is not one.
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                break
        first = first and char.isspace()
        position += 1
    argument = text[start:position].strip()
    for mark in ('"""', "'''", '"', "'"):
        if len(argument) >= 2 * len(mark) and argument.startswith(mark) and argument.endswith(mark):
            return argument[len(mark) : -len(mark)]
    return argument
