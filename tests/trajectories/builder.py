"""An event log in the making."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.events.types import (
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    LmFinished,
    LmOutput,
    LmStarted,
    MessageInfo,
    NodeFinished,
    NodeStarted,
    SessionFinished,
    SessionStarted,
    StepStarted,
    SubcallClosed,
    SubcallOpened,
    encode_event,
    wire_text,
)

START_MS = 1_790_000_000_000
LIMITS = {
    "max_depth": 4,
    "max_steps_per_node": 30,
    "max_nodes": 1000,
    "max_lm_calls": 2000,
    "max_tokens": 5_000_000,
    "max_cost_usd": 5.0,
    "max_wall_s": 3600,
    "max_output_bytes": 268_435_456,
}


@dataclass
class Trajectory:
    """An event log in the making. Times advance with every event."""

    at_ms: int = START_MS
    events: list[tuple[int, Event]] = field(default_factory=list)
    nodes: int = 0
    calls: int = 0

    def add(self, event: Event, after_ms: int = 3) -> None:
        self.at_ms += after_ms
        self.events.append((self.at_ms, event))

    def lines(self) -> Iterator[str]:
        """The events as they go over the wire."""
        for seq, (at_ms, event) in enumerate(self.events, start=1):
            yield wire_text(seq, at_ms, encode_event(event).decode())

    def begin(self, question: str, *, labels: list[str] | None = None, limits: dict[str, object] | None = None) -> int:
        config: dict[str, object] = {
            "root_model": "scripted:tour",
            "sub_model": "scripted:tour",
            "root_api": "scripted",
            "provider": "local",
            "profile": "standard",
            "limits": {**LIMITS, **(limits or {})},
        }
        context: dict[str, str | int] = {
            "name": "python3.11-stdlib.txt",
            "kind": "text",
            "size_bytes": 12_734_221,
            "sha256": "a" * 64,
        }
        labels = ["scripted"] if labels is None else labels
        self.add(SessionStarted(title=question[:60], question=question, context=context, config=config, labels=labels))
        return self.node(question, parent=None)

    def node(self, prompt: str, *, parent: int | None, depth: int = 0, **place: object) -> int:
        number = self.nodes
        self.nodes += 1
        started = NodeStarted(node=number, parent=parent, depth=depth, prompt=prompt, model="scripted:tour", **place)  # type: ignore[arg-type]
        self.add(started)
        return number

    def step(self, node: int, step: int, reply: str, *messages: MessageInfo, cost: int | None = 420) -> None:
        self.add(StepStarted(node=node, step=step, messages=list(messages)))
        call = self.call(node, step, kind="turn")
        for start in range(0, len(reply), 60):
            self.add(LmOutput(node=node, call=call, text=reply[start : start + 60]), 40)
        self.reply(node, call, reply, cost=cost)

    def call(self, node: int, step: int, kind: str = "leaf", **place: object) -> int:
        self.calls += 1
        started = LmStarted(node=node, step=step, call=self.calls, kind=kind, model="scripted:tour", **place)  # type: ignore[arg-type]
        self.add(started)
        return self.calls

    def reply(self, node: int, call: int, text: str, *, cost: int | None = 110) -> None:
        self.add(
            LmFinished(
                node=node,
                call=call,
                reply=text,
                finish_reason="stop",
                input_tokens=900 + len(text),
                output_tokens=len(text) // 4 + 1,
                cost_micro_usd=cost,
                cost_source="scripted" if cost is not None else "unknown",
                duration_ms=180,
            ),
            120,
        )

    def cell(self, node: int, step: int, cell: int, code: str, output: str = "", **end: object) -> None:
        self.add(CellStarted(node=node, step=step, cell=cell, code=code))
        if output:
            self.add(CellOutput(node=node, step=step, cell=cell, stream="stdout", text=output), 20)
        self.end_cell(node, step, cell, output, **end)

    def end_cell(self, node: int, step: int, cell: int, output: str = "", **end: object) -> None:
        fields: dict[str, object] = {"status": "ok", "duration_ms": 31, "output_bytes": len(output.encode()), **end}
        self.add(CellFinished(node=node, step=step, cell=cell, **fields))  # type: ignore[arg-type]

    def leaves(self, node: int, step: int, cell: int, name: str, prompts: list[str], replies: list[str]) -> None:
        """A batch of plain LM calls that are out together and come back in another order."""
        opened = SubcallOpened(
            node=node, step=step, cell=cell, subcall=name, kind="llm", count=len(prompts), batch=True
        )
        self.add(opened)
        calls = [
            self.call(node, step, cell=cell, subcall=name, index=index, prompt=prompt)
            for index, prompt in enumerate(prompts)
        ]
        order = sorted(range(len(calls)), key=lambda index: (index * 7919) % max(1, len(calls)))
        for index in order:
            self.reply(node, calls[index], replies[index])
        self.add(SubcallClosed(node=node, step=step, cell=cell, subcall=name))

    def finish(self, status: str = "finished", answer: str | None = None, **fields: object) -> None:
        self.add(NodeFinished(node=0, status=status, answer=answer, **fields))  # type: ignore[arg-type]
        self.add(SessionFinished(status=status, answer=answer, **fields))  # type: ignore[arg-type]
