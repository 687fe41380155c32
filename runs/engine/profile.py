"""Prompt profiles: how a node talks to its model. `standard` for capable models, `small` for a few billion parameters."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runs.engine.io import ChatMessage
from runs.engine.state import CellRecord, NodeState, NodeTask

_PROFILES = {
    "standard": "runs.engine.profiles.standard.StandardProfile",
    "small": "runs.engine.profiles.small.SmallProfile",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a reply asks for. `final` is the text of `FINAL(...)`, `final_var` the name in `FINAL_VAR(...)`."""

    cells: tuple[str, ...] = ()
    final: str | None = None
    final_var: str | None = None
    check: str | None = None
    """Code of the profile's own to run last, shown as built in: it gives the answer with `FINAL`, or prints why not."""


class Profile(Protocol):
    """Pure functions: the same task, state and texts give the same messages."""

    name: str

    def probe(self, task: NodeTask) -> str | None:
        """Code of a first cell made by the product, shown as built in; its output goes to `opening`."""

    def opening(self, task: NodeTask, probe: str) -> list[ChatMessage]:
        """The first messages: system, context, question. `probe` is what the probe printed, or empty."""

    def turn(self, task: NodeTask, node: NodeState, turn: int) -> ChatMessage | None:
        """The message that opens turn `turn` (from 1), e.g. how many are left."""

    def parse(self, task: NodeTask, node: NodeState, reply: str, turn: int) -> Parsed:
        """The cells to run and the answer, if the reply gives one."""

    def observe(self, task: NodeTask, node: NodeState, reply: str, cells: Sequence[CellRecord]) -> list[ChatMessage]:
        """What the model sees of its turn: its own reply and what came of it."""

    def ask(self, task: NodeTask, node: NodeState, turn: int) -> dict[str, Any]:
        """Hints for the request: `max_output_tokens`, `temperature`, `grammar`..."""


def profile_named(name: str) -> Profile:
    """Raises `KeyError` for a name that no session can have: the configuration is checked before it is stored."""
    module, _, attribute = _PROFILES[name].rpartition(".")
    made: Profile = getattr(importlib.import_module(module), attribute)()
    return made
