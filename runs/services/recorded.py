"""What the sub-calls of one step were answered, found by what they asked: threads may ask in another order next time."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from runs.engine.io import CallKey
from runs.models import LmCall, Step
from runs.services.children import endings
from runs.services.noderun import NodeRun


@dataclass(slots=True)
class Recorded:
    """The answer to one prompt: text or error. `request` identifies what was asked."""

    key: CallKey
    request: str
    text: str | None
    error: str | None
    taken: bool = False


class RecordedAnswers:
    """Each is given once."""

    def __init__(self, step: Step, run: NodeRun) -> None:
        self._by_key: dict[CallKey, Recorded] = {}
        self._by_request: defaultdict[tuple[int, str], deque[Recorded]] = defaultdict(deque)
        for recorded in (*_of_models(step), *_of_children(step, run)):
            self._by_key[recorded.key] = recorded
            self._by_request[recorded.key.cell, recorded.request].append(recorded)

    def take(self, key: CallKey, request: str) -> Recorded | None:
        """The answer to this request at its own place, or else anywhere in the cell."""
        recorded = self._by_key.get(key)
        if recorded is None or recorded.request != request or recorded.taken:
            recorded = self._any(key.cell, request)
        if recorded is not None:
            recorded.taken = True
        return recorded

    def calls(self, cell: int) -> int:
        """How many sub-calls of the cell had an answer to any of their prompts."""
        return len({key.subcall for key in self._by_key if key.cell == cell})

    def left(self, cell: int) -> list[Recorded]:
        """Answers to prompts of the cell that nobody asked for."""
        return [each for each in self._by_key.values() if each.key.cell == cell and not each.taken]

    def _any(self, cell: int, request: str) -> Recorded | None:
        waiting = self._by_request[cell, request]
        while waiting:
            recorded = waiting.popleft()
            if not recorded.taken:
                return recorded
        return None


def child_request(prompt: str) -> str:
    """What identifies the prompt of a child: the hash under which its node keeps it."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def _of_models(step: Step) -> Iterator[Recorded]:
    for row in LmCall.objects.filter(step=step, kind="leaf"):
        key = CallKey(row.cell, row.subcall, row.index)
        if row.status == LmCall.Status.FINISHED:
            yield Recorded(key, row.request_sha256, row.reply, None)
        elif row.status == LmCall.Status.FAILED:
            yield Recorded(key, row.request_sha256, None, row.error_message)


def _of_children(step: Step, run: NodeRun) -> Iterator[Recorded]:
    children = list(step.children.all())
    requests = {CallKey(child.cell, child.subcall, child.index): child.prompt_sha256 for child in children}
    for ended in endings(children, run.store):
        yield Recorded(ended.call, requests[ended.call], ended.answer, ended.error)
