"""Token estimates for decisions that need no exact count: when to compact, what to reserve."""

from __future__ import annotations

from collections.abc import Iterable

from runs.engine.io import ChatMessage

CHARS_PER_TOKEN = 3.5
"""English prose has about four characters a token, code and other languages fewer."""
TOKENS_PER_MESSAGE = 6
"""Role and separators, as chat templates add them."""


def estimate_tokens(messages: Iterable[ChatMessage]) -> int:
    return sum(int(len(message.content) / CHARS_PER_TOKEN) + TOKENS_PER_MESSAGE for message in messages)
