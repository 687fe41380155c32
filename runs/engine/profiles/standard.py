"""The standard profile: the published protocol for capable models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs.engine import parsing, prompts
from runs.engine.io import ChatMessage
from runs.engine.observation import observation
from runs.engine.profile import Parsed
from runs.engine.state import CellRecord, NodeState, NodeTask


class StandardProfile:
    name = "standard"

    def probe(self, task: NodeTask) -> str | None:
        return None

    def opening(self, task: NodeTask, probe: str) -> list[ChatMessage]:
        return [
            ChatMessage("system", prompts.system_prompt(task)),
            ChatMessage("user", prompts.question_prompt(task, probe)),
        ]

    def turn(self, task: NodeTask, node: NodeState, turn: int) -> ChatMessage | None:
        return ChatMessage("user", prompts.turn_prompt(turn, task.limits.max_steps_per_node))

    def parse(self, task: NodeTask, node: NodeState, reply: str, turn: int) -> Parsed:
        blocks, prose = parsing.split_reply(reply)
        # FINAL(...) and FINAL_VAR(...) in the text are the older protocol; models trained on it still write them.
        return Parsed(parsing.code_cells(blocks), parsing.final_text(prose), parsing.final_variable(prose))

    def observe(self, task: NodeTask, node: NodeState, reply: str, cells: Sequence[CellRecord]) -> list[ChatMessage]:
        messages = [ChatMessage("assistant", reply)]
        if cells:
            messages.append(observation(cells))
        elif parsing.cut_off(parsing.split_reply(reply)[0]):
            messages.append(ChatMessage("user", prompts.CUT_OFF))
        else:
            messages.append(ChatMessage("user", prompts.NO_CODE))
        return messages

    def ask(self, task: NodeTask, node: NodeState, turn: int) -> dict[str, Any]:
        return {}
