"""Text that crosses the boundary from models and sandboxes, made safe to store.

PostgreSQL cannot hold NUL in text and JSON cannot hold lone surrogates; both arrive from hostile code. They are
replaced once, here, at the boundary: what is stored, shown and sent to a model is then one and the same text.
"""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile("[\x00\ud800-\udfff]")


def scrub(text: str) -> str:
    """Replace NUL by its symbol U+2400 and lone surrogates by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSAFE.sub(lambda match: "\u2400" if match.group() == "\x00" else "\ufffd", text)


def sha256_hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def head_tail(text: str, head_chars: int, tail_chars: int) -> tuple[str, str]:
    """The first and the last characters, not overlapping."""
    head = text[:head_chars]
    rest = text[head_chars:]
    return head, rest[-tail_chars:] if tail_chars else ""
