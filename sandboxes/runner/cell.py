"""The running cell: its clock and its sub-calls."""

from __future__ import annotations

import time

from sandboxes.runner.checks import CALL_KINDS, Rejected, check_payload, required_text
from sandboxes.runner.output import CellOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.wire import Spool

MAX_PROMPTS = 10_000
NEVER = float("inf")
COMPACT_CALL_BYTES = 64 * 1024
COMPACT_PROMPT_CHARS = 64


class Cell:
    def __init__(self, id: str, timeout_s: float, output: CellOutput) -> None:
        self.id = id
        self.output = output
        self.started = time.monotonic()
        self.stop_reason = ""
        """Why it was interrupted; empty while it was not."""
        self._kill_at = NEVER
        self._time_left_s = timeout_s or NEVER
        self._clock_from = self.started
        self._calls: dict[str, dict[str, Any]] = {}
        """Those with prompts that have no answer yet."""
        self._answered: dict[str, set[int]] = {}
        self._call_count = 0
        self._outstanding = 0

    # Clock ------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When to act next: the cell's own time-out, or the end of the grace after an interrupt."""
        if self.stop_reason:
            return self._kill_at
        return self._clock_from + self._time_left_s

    def stop(self, reason: str, grace_s: float) -> None:
        self.stop_reason = reason
        self._kill_at = time.monotonic() + grace_s

    def stop_clock(self, count: int = 1) -> None:
        """It waits for `count` things of the host more."""
        if self._outstanding == 0:
            self._time_left_s -= time.monotonic() - self._clock_from
            self._clock_from = NEVER
        self._outstanding += count

    def resume_clock(self) -> None:
        """One of them came."""
        self._outstanding -= 1
        if self._outstanding == 0:
            self._clock_from = time.monotonic()

    def was_killed(self) -> None:
        self._kill_at = NEVER

    # Sub-calls --------------------------------------------------------------------------------------------------

    def add_call(self, message: dict[str, Any]) -> dict[str, Any]:
        """The frame for a sub-call that the child asked for; the clock stands still from now on.

        Raises `Rejected` for what the child may not ask.
        """
        number, prompts = self._call_count + 1, message.get("prompts")
        if message.get("n") != number:
            raise Rejected("sub-calls must be numbered in order")
        if type(prompts) is not list or not 0 < len(prompts) <= MAX_PROMPTS or message.get("kind") not in CALL_KINDS:
            raise Rejected(f"a sub-call needs a kind and 1 to {MAX_PROMPTS} prompts")
        call: dict[str, Any] = {
            "type": "subcall",
            "cell": self.id,
            "call": f"c{number}",
            "kind": message["kind"],
            "prompts": [check_payload(prompt) for prompt in prompts],
            "batch": message.get("batch") is True,
            "blocking": message.get("blocking") is True,
        }
        if message.get("model") is not None:
            call["model"] = required_text(message["model"], 200)
        self.stop_clock(len(prompts))
        self._call_count = number
        self._calls[call["call"]] = call
        self._answered[call["call"]] = set()
        return call

    def accept_answer(self, call: str, index: int) -> bool:
        """Note an answer; False when nobody waits for it. Raises `ValueError` for a prompt that there is not."""
        if call not in self._calls or index in self._answered[call]:
            return False
        if not 0 <= index < len(self._calls[call]["prompts"]):
            raise ValueError(f"{call} has no prompt {index}")
        self._answered[call].add(index)
        if len(self._answered[call]) == len(self._calls[call]["prompts"]):
            del self._calls[call], self._answered[call]  # a cell may make millions
        self.resume_clock()
        return True

    def waiting(self, spool: Spool) -> dict[str, Any]:
        """The sub-calls without all of their answers, as the fields of a `state` frame."""
        return {
            "outstanding": [_compact(call, spool) for call in self._calls.values()],
            "answered": {name: sorted(indices) for name, indices in self._answered.items() if indices},
        }


def _compact(call: dict[str, Any], spool: Spool) -> dict[str, Any]:
    """`call` with long prompts moved to files, once, so that the line of a `state` stays short."""
    prompts = call["prompts"]
    if sum(64 + prompt["size_bytes"] for prompt in prompts if "text" in prompt) > COMPACT_CALL_BYTES:
        for index, prompt in enumerate(prompts):
            if len(prompt.get("text") or "") > COMPACT_PROMPT_CHARS:
                prompts[index] = spool.payload(prompt["text"], 0)
    return call
