"""Text from models and sandboxes, made safe for a terminal, and cut to its width.

A terminal obeys what it is sent: colours, cursor moves, its own title, on some even commands. Nothing of that may come
from a session. Each character that is not plainly printable is shown as its code.
"""

from __future__ import annotations

import unicodedata

from runs.events.types import BlobText, Text

TAB = "    "
NARROW, WIDE = 1, 2


def safe(text: str) -> str:
    """One line: control characters, line breaks among them, direction marks and unassigned codes are spelled out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def safe_lines(text: str) -> list[str]:
    return [safe(line.replace("\t", TAB)) for line in text.split("\n")]


def head(text: Text | None) -> str:
    """The beginning of a text, also of one that is kept in the blob store."""
    if text is None:
        return ""
    return f"{text.head}… ({text.size:,} bytes)" if isinstance(text, BlobText) else text


def first_line(text: Text | None) -> str:
    """The first line that says something, safe."""
    lines = (line.strip() for line in head(text).splitlines())
    return safe(next((line for line in lines if line), ""))


def fit(text: str, columns: int) -> str:
    """Cut to so many columns of the terminal; East Asian characters take two."""
    if _columns(text) <= columns:
        return text
    used = 0
    for number, char in enumerate(text):
        used += _columns(char)
        if used > columns - NARROW:
            return f"{text[:number]}…" if columns > 0 else ""
    raise AssertionError("a text that fits was returned above")


def _columns(text: str) -> int:
    return sum(WIDE if unicodedata.east_asian_width(char) in "WF" else NARROW for char in text)


def _shown(char: str) -> str:
    if char.isprintable() and unicodedata.category(char) not in ("Cf", "Co", "Cn", "Zl", "Zp"):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
