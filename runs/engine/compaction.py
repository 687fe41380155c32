"""Compaction: when a conversation nears the model's window, a summary takes its place.

The opening messages (system, question, a profile's examples) stay; the REPL keeps its variables. The old conversation
stays on record.
"""

from __future__ import annotations

from collections.abc import Sequence

from runs.engine.estimate import estimate_tokens
from runs.engine.io import ChatMessage
from runs.engine.prompts import AFTER_COMPACTION, COMPACTION_REQUEST
from runs.engine.state import NodeState, NodeTask

THRESHOLD = 0.75
"""Share of the window that a conversation may fill; the rest is for the reply and for the estimate's error."""
MOST = 0.85
"""Share of the window that a last request may fill, for which there is no second try."""
SHORTEST_CHARS = 500
SUMMARY_TOKENS = 2_000


def is_due(task: NodeTask, node: NodeState, conversation: Sequence[ChatMessage]) -> bool:
    """Is it near the window, and is there anything to summarize besides the opening and the latest turn?"""
    if not task.compaction or len(conversation) <= node.opening + 2:
        return False
    return estimate_tokens(conversation) > THRESHOLD * task.context_window_tokens


def request(task: NodeTask, conversation: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    return fitted((*conversation, ChatMessage("user", COMPACTION_REQUEST)), task.context_window_tokens)


def compacted(node: NodeState, conversation: Sequence[ChatMessage], summary: str) -> tuple[ChatMessage, ...]:
    return (*conversation[: node.opening], ChatMessage("user", AFTER_COMPACTION.format(summary=summary)))


def fitted(messages: tuple[ChatMessage, ...], window_tokens: int) -> tuple[ChatMessage, ...]:
    """The messages, the longest of them cut in the middle until all fit the window: the last turn may have overfilled it."""
    longest = max((len(message.content) for message in messages), default=0)
    while estimate_tokens(messages) > MOST * window_tokens and longest > SHORTEST_CHARS:
        longest //= 2
        messages = tuple(_shortened(message, longest) for message in messages)
    return messages


def _shortened(message: ChatMessage, most_chars: int) -> ChatMessage:
    text = message.content
    if len(text) <= most_chars:
        return message
    head, tail = most_chars * 3 // 4, most_chars // 4
    return ChatMessage(message.role, f"{text[:head]}\n[... left out ...]\n{text[-tail:]}")
