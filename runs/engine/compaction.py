"""Compaction: when a conversation nears the model's window, a summary takes its place.

The first messages (system, question) stay; the REPL keeps its variables. The old conversation stays on record.
"""

from __future__ import annotations

from collections.abc import Sequence

from runs.engine.estimate import estimate_tokens
from runs.engine.io import ChatMessage
from runs.engine.prompts import AFTER_COMPACTION, COMPACTION_REQUEST
from runs.engine.state import NodeTask

THRESHOLD = 0.75
"""Share of the window that a conversation may fill; the rest is for the reply and for the estimate's error."""
KEPT_MESSAGES = 2
SUMMARY_TOKENS = 2_000


def is_due(task: NodeTask, conversation: Sequence[ChatMessage]) -> bool:
    if not task.compaction or len(conversation) <= KEPT_MESSAGES + 2:
        return False
    return estimate_tokens(conversation) > THRESHOLD * task.context_window_tokens


def request(conversation: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    return (*conversation, ChatMessage("user", COMPACTION_REQUEST))


def compacted(conversation: Sequence[ChatMessage], summary: str) -> tuple[ChatMessage, ...]:
    return (*conversation[:KEPT_MESSAGES], ChatMessage("user", AFTER_COMPACTION.format(summary=summary)))
