"""What an entry says, as canonical text (RFC 8785), and a number for it that sorts by time (UUIDv7)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import rfc8785

SCHEMA = 2
LONGEST_TEXT = 2000
"""Characters of one text in `details`: the log quotes, it does not store."""
SAFE_INTEGER = 2**53 - 1
"""RFC 8785 has no larger ones; they are written as text."""


def event_id() -> uuid.UUID:
    """UUIDv7 (RFC 9562, section 5.7)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(document: Mapping[str, Any]) -> str:
    return rfc8785.dumps(plain(document)).decode()


def plain(value: Any) -> Any:
    """As JSON has it. What is not JSON becomes text, long texts are cut, half characters are replaced."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    text = time_text(value) if isinstance(value, datetime) else str(value)
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return text.encode("utf-8", "replace").decode()
