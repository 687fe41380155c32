"""The common past of a fork: what of the source's tree and event log lies before the step that it goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runs.models import Event, Node, NodeMessage, Session, Step

SESSION_EVENTS = ("session.started", "session.forked", "session.stop_requested", "session.finished")
OWN_NODE_EVENTS = ("node.finished", "node.sandbox")
PAGE_EVENTS = 5_000


@dataclass(slots=True)
class Past:
    """`nodes`: the forked node and what descends from its steps up to `step`, by their numbers in the source.

    `number_of` gives their numbers in the fork: the forked node is 0, the others keep their order.
    """

    top: Node
    step: int
    nodes: list[Node]
    number_of: dict[int, int] = field(default_factory=dict)

    def depth_of(self, node: Node) -> int:
        return node.depth - self.top.depth


def past_of(session: Session, top: Node, step: int) -> Past:
    """Nodes opened by `top` after `step` are not part of it, nor is anything else of the source's tree."""
    everything = list(Node.objects.filter(session=session).select_related("parent_step").order_by("number"))
    inside = {top.pk}
    nodes = [top]
    for node in everything:
        if node.parent_id not in inside or node.pk == top.pk or node.parent_step is None:
            continue
        if node.parent_id == top.pk and node.parent_step.number > step:
            continue
        inside.add(node.pk)
        nodes.append(node)
    nodes.sort(key=lambda node: (node.pk != top.pk, node.number))
    return Past(top, step, nodes, {node.number: number for number, node in enumerate(nodes)})


def conversation_at(node: Node, step: int) -> list[NodeMessage]:
    """The messages of `node` at the end of `step`, in order."""
    rows = list(NodeMessage.objects.filter(node=node, step_number__lte=step).order_by("epoch", "position"))
    return [row for row in rows if row.epoch == rows[-1].epoch] if rows else []


@dataclass(slots=True)
class Recorded:
    """The texts that a fork may change, as they were recorded. `messages` has no system prompt."""

    title: str
    question: str
    system_prompt: str
    reply: str
    """Of the step after; empty when there is none."""
    messages: list[NodeMessage] = field(default_factory=list)

    def texts(self) -> dict[str, str]:
        """By the names that `differences_of` gives them."""
        return {
            "question": self.question,
            "system_prompt": self.system_prompt,
            "reply": self.reply,
            **{f"message {row.position}": row.content for row in self.messages},
        }


def recorded_at(top: Node, step: int) -> Recorded:
    """What stood at the end of `step` of `top`, and the reply that followed."""
    rows = conversation_at(top, step)
    following = Step.objects.filter(node=top, number=step + 1).first()
    session = top.session
    system = rows[0].content if rows and rows[0].role == "system" else session.config.get("system_prompt") or ""
    return Recorded(
        title=session.title,
        question=session.question,
        system_prompt=system,
        reply=str(following.state.get("reply", "")) if following is not None else "",
        messages=[row for row in rows if row.role != "system"],
    )


def copied_events(
    session: Session, past: Past, snapshots: dict[str, str]
) -> Iterator[tuple[int, str, int | None, str]]:
    """(time in ms, type, node, data) of the source's events that belong to the past, with the fork's node numbers.

    `snapshots` gives the fork's snapshots by those of the source.
    """
    choose = _Choice(past, snapshots)
    after = 0
    while rows := list(
        Event.objects.filter(session=session, seq__gt=after)
        .order_by("seq")
        .values_list("seq", "at_ms", "type", "data")[:PAGE_EVENTS]
    ):
        after = rows[-1][0]
        for _, at_ms, kind, text in rows:
            data = choose.copy(kind, json.loads(text))
            if data is not None:
                yield at_ms, kind, data.get("node"), json.dumps(data, ensure_ascii=False, separators=(",", ":"))


class _Choice:
    def __init__(self, past: Past, snapshots: dict[str, str]) -> None:
        self._past = past
        self._snapshots = snapshots
        self._left_out_calls: set[int] = set()

    def copy(self, kind: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """The event as the fork records it; None for one that is not of the past."""
        past, node = self._past, data.get("node")
        if kind in SESSION_EVENTS or not isinstance(node, int) or node not in past.number_of:
            return None
        own = node == past.top.number
        # Before its first step nothing is common: the fork's node starts anew, perhaps with another question.
        if own and (past.step == 0 or kind in OWN_NODE_EVENTS or self._is_later(kind, data)):
            return None
        data["node"] = past.number_of[node]
        if kind == "node.started":
            parent = data.get("parent")
            data["parent"] = None if own or parent is None else past.number_of[parent]
            data["depth"] = data["depth"] - past.top.depth
            if own:
                data.update(step=0, cell=0, subcall="", index=0)
        elif kind == "snapshot.taken":
            if data["snapshot"] not in self._snapshots:
                return None
            data["snapshot"] = self._snapshots[data["snapshot"]]
        return data

    def _is_later(self, kind: str, data: dict[str, Any]) -> bool:
        """Did the forked node do this after the step that the fork goes on from?"""
        call = data.get("call")
        if kind == "lm.started":
            if data["step"] > self._past.step:
                self._left_out_calls.add(data["call"])
                return True
            return False
        if call is not None:
            return call in self._left_out_calls
        step = data.get("step")
        return (step is not None and kind != "node.started" and step > self._past.step) or (
            kind in ("log", "limit.hit", "gap") and step is None
        )
