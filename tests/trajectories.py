"""Made-up trajectories: event logs of any size and of every shape that pages must show.

The shared fixtures under `fixtures/trajectories` come from here (`python -m tests.trajectories`), and so do the
sessions with which browser tests fill a database. Everything is seeded: the same call gives the same log.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runs.events.types import (
    BlobText,
    CellFinished,
    CellOutput,
    CellStarted,
    Compaction,
    ErrorInfo,
    Event,
    Gap,
    LimitHit,
    LmFailed,
    LmFinished,
    LmOutput,
    LmStarted,
    Log,
    MessageInfo,
    NodeFinished,
    NodeSandbox,
    NodeStarted,
    SessionFinished,
    SessionStarted,
    SessionStopRequested,
    SnapshotTaken,
    StepFinished,
    StepResumed,
    StepRetried,
    StepStarted,
    StepWaiting,
    SubcallClosed,
    SubcallOpened,
    VariableInfo,
    encode_event,
    wire_text,
)

FOLDER = Path(__file__).parent / "fixtures" / "trajectories"
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
TRACEBACK = (
    'Traceback (most recent call last):\n  File "<cell>", line 3, in <module>\n    parts[12]\nIndexError: list index'
    " out of range"
)


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
        config = {
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


def tour() -> Trajectory:
    """A run as a newcomer sees it: look at the context, split it, ask about the parts, answer."""
    log = Trajectory()
    root = log.begin("Which standard-library modules define a class named Parser, and how many methods has each?")
    log.add(NodeSandbox(node=root, state="ready", provider="local", tier="bubblewrap", sandbox="s-1"))
    look = "```repl\nprint(type(context), len(context))\nprint(context[:300])\n```"
    system = MessageInfo("system", BlobText("b" * 64, 5_320, "You answer a question about a long context ...", "..."))
    log.step(root, 1, "I will look at the context first.\n\n" + look, system, MessageInfo("user", "Begin."))
    log.cell(
        root,
        1,
        1,
        "print(type(context), len(context))\nprint(context[:300])",
        "<class 'str'> 12734221\n=== abc.py ===\n# Copyright 2007 Google, Inc. All Rights Reserved.\n",
        variables=[VariableInfo("context", "str", "12734221", "'=== abc.py ==='")],
    )
    log.add(SnapshotTaken(node=root, step=1, snapshot="n-1", holds=["variables"], size_bytes=2048))
    log.add(StepFinished(node=root, step=1, status="finished", duration_ms=610))
    code = (
        "import re\n# one part for each module\nparts = re.split(r'^=== (.+?) ===$', context, flags=re.M)\n"
        'hits = [n for n, body in zip(parts[1::2], parts[2::2]) if "class Parser" in body]\n'
        "print(hits)\nreplies = llm_query_batched([f'How many methods? {h}' for h in hits])"
    )
    log.step(root, 2, f"The modules are separated by headers.\n\n```repl\n{code}\n```")
    log.add(CellStarted(node=root, step=2, cell=1, code=code))
    log.add(CellOutput(node=root, step=2, cell=1, stream="stdout", text="['configparser', 'email.parser']\n"))
    log.leaves(root, 2, 1, "c1", ["How many methods? configparser", "How many methods? email.parser"], ["12", "4"])
    log.end_cell(root, 2, 1, variables=[VariableInfo("hits", "list", "2", "['configparser', 'email.parser']")])
    log.add(StepFinished(node=root, step=2, status="finished", duration_ms=930))
    log.step(root, 3, "```repl\nsummary = rlm_query('Check configparser', parts[3])\n```")
    log.add(CellStarted(node=root, step=3, cell=1, code="summary = rlm_query('Check configparser', parts[3])"))
    log.add(SubcallOpened(node=root, step=3, cell=1, subcall="c1", kind="rlm", count=1))
    child = log.node("Check configparser", parent=root, depth=1, step=3, cell=1, subcall="c1", index=0)
    log.add(StepWaiting(node=root, step=3, children=1))
    log.step(child, 1, "```repl\nprint(parts[12])\n```", MessageInfo("user", "Check configparser"))
    log.cell(
        child,
        1,
        1,
        "print(parts[12])",
        status="error",
        error=ErrorInfo("IndexError", "list index out of range", detail=TRACEBACK),
    )
    log.add(StepFinished(node=child, step=1, status="finished"))
    log.step(child, 2, "The part is short, so I can answer. FINAL(12 methods)")
    log.add(StepFinished(node=child, step=2, status="finished"))
    log.add(NodeFinished(node=child, status="finished", answer="12 methods"))
    log.add(StepResumed(node=root, step=3))
    log.add(SubcallClosed(node=root, step=3, cell=1, subcall="c1"))
    log.end_cell(root, 3, 1, answered=True)
    log.add(StepFinished(node=root, step=3, status="finished"))
    log.add(NodeSandbox(node=root, state="ended", sandbox="s-1"))
    log.finish(answer="configparser.RawConfigParser: 12, email.parser.Parser: 4")
    return log


def restarted_cell() -> Trajectory:
    """The sandbox dies in the middle of a cell that has asked and printed; the cell runs again, then prints late."""
    log = Trajectory()
    root = log.begin("What survives a lost sandbox?")
    log.add(NodeSandbox(node=root, state="ready", provider="local", tier="landlock", sandbox="s-1"))
    log.step(root, 1, "```repl\nprint(llm_query('one'))\n```")
    log.add(CellStarted(node=root, step=1, cell=1, code="print(llm_query('one'))"))
    log.add(CellOutput(node=root, step=1, cell=1, stream="stdout", text="printed before the loss\n"))
    log.leaves(root, 1, 1, "c1", ["one"], ["1"])
    log.add(NodeSandbox(node=root, state="lost", sandbox="s-1", reason="the process ended"))
    log.add(NodeSandbox(node=root, state="rebuilt", provider="local", tier="landlock", sandbox="s-2"))
    log.add(CellStarted(node=root, step=1, cell=1, code="print(llm_query('one'))", attempt=2))
    log.add(CellOutput(node=root, step=1, cell=1, stream="stdout", text="1\n"))
    log.add(CellOutput(node=root, step=1, cell=1, stream="stderr", text="warning: again\n"))
    log.end_cell(root, 1, 1, "1\n")
    log.add(StepRetried(node=root, step=1, attempt=2, reason="worker w1 was lost"))
    log.add(StepFinished(node=root, step=1, status="finished"))
    log.add(StepStarted(node=root, step=2, attempt=2, messages=[MessageInfo("user", "1\n")]))
    log.add(CellOutput(node=root, step=1, cell=1, stream="stdout", text="left running\n", late=True))
    call = log.call(root, 2, kind="turn")
    log.add(LmFinished(node=root, call=call, reply="FINAL(1)", maybe_repeated=True, cost_micro_usd=None))
    log.add(StepFinished(node=root, step=2, status="finished"))
    log.finish(answer="1")
    return log


def limited() -> Trajectory:
    """A limit ends a run that still has calls out; the best answer so far is kept."""
    log = Trajectory()
    root = log.begin("How far does a dollar go?", limits={"max_cost_usd": 0.001, "max_nodes": 3})
    log.step(root, 1, "```repl\nllm_query_batched(['a', 'b', 'c'])\n```", cost=700)
    log.add(CellStarted(node=root, step=1, cell=1, code="llm_query_batched(['a', 'b', 'c'])"))
    log.add(SubcallOpened(node=root, step=1, cell=1, subcall="c1", kind="llm", count=3, batch=True))
    first, second, _ = [
        log.call(root, 1, cell=1, subcall="c1", index=index, prompt=prompt) for index, prompt in enumerate("abc")
    ]
    log.reply(root, first, "A", cost=400)
    log.add(LmFailed(node=root, call=second, error=ErrorInfo("RateLimited", "429", retryable=True), attempts=5))
    log.add(LimitHit(limit="max_cost_usd", used=0.0011, allowed=0.001, node=root, step=1, partial="about a third"))
    error = ErrorInfo("LimitReached", "max_cost_usd: 0.0011 used, 0.001 allowed")
    log.add(StepFinished(node=root, step=1, status="limited", error=error))
    log.finish("limited", "about a third", partial=True, error=error)
    return log


def stopped() -> Trajectory:
    """Somebody stops one subtree, then the whole session."""
    log = Trajectory()
    root = log.begin("Count for ever")
    log.step(root, 1, "```repl\nrlm_query_batched(['left', 'right'])\n```")
    log.add(CellStarted(node=root, step=1, cell=1, code="rlm_query_batched(['left', 'right'])"))
    log.add(SubcallOpened(node=root, step=1, cell=1, subcall="c1", kind="rlm", count=2, batch=True))
    left, right = [
        log.node(name, parent=root, depth=1, step=1, cell=1, subcall="c1", index=index)
        for index, name in enumerate(("left", "right"))
    ]
    log.add(StepWaiting(node=root, step=1, children=2))
    for node in (left, right):
        log.add(StepStarted(node=node, step=1, messages=[MessageInfo("user", "go")]))
        log.call(node, 1, kind="turn")
    log.add(SessionStopRequested(node=left, by="ada"))
    log.add(StepFinished(node=left, step=1, status="stopped"))
    log.add(NodeFinished(node=left, status="stopped"))
    log.add(SessionStopRequested(by="ada"))
    for node in (right, root):
        log.add(StepFinished(node=node, step=1, status="stopped"))
        log.add(NodeFinished(node=node, status="stopped"))
    log.add(SessionFinished(status="stopped"))
    return log


def failed() -> Trajectory:
    """The model's endpoint refuses the key: nothing was answered, and the reason is plain."""
    log = Trajectory()
    root = log.begin("Will this key do?", labels=[])
    log.add(StepStarted(node=root, step=1, messages=[MessageInfo("user", "Will this key do?")]))
    call = log.call(root, 1, kind="turn")
    error = ErrorInfo("AuthenticationFailed", "The endpoint refused the key (401). Check the team's key for it.")
    log.add(LmFailed(node=root, call=call, error=error, attempts=1, duration_ms=90))
    log.add(StepFinished(node=root, step=1, status="failed", error=error))
    log.finish("failed", error=error)
    return log


def with_gaps() -> Trajectory:
    """A log with holes, as one imported from elsewhere may have: events name what was never begun."""
    log = Trajectory()
    log.add(Gap(reason="the first 12 lines of the file are missing"))
    log.add(CellOutput(node=7, step=2, cell=1, stream="stdout", text="from nowhere\n"))
    log.add(NodeStarted(node=8, parent=7, depth=1, prompt="a child of it", model="m", step=2, cell=1, subcall="c9"))
    log.add(NodeStarted(node=9, parent=5, depth=3, prompt="its parent is missing", model="m"))
    log.add(LmFinished(node=8, call=44, reply="unasked", input_tokens=5, output_tokens=6, cost_micro_usd=7))
    log.add(LmOutput(node=8, call=45, text="to nobody"))
    log.add(SubcallClosed(node=9, step=1, cell=1, subcall="c1", failed=1))
    log.add(Log(level="error", message="no node to blame"))
    log.add(Log(level="error", message="a node to blame", node=9, step=1))
    log.add(Gap(reason="node 5 is missing", node=9))
    log.add(NodeStarted(node=7, parent=None, depth=0, prompt="late news of the root", model="m"))
    return log


def compacted() -> Trajectory:
    """A conversation that outgrew its window: the summary is asked for before the step opens."""
    log = Trajectory()
    root = log.begin("Summarise everything you did")
    for step in (1, 2):
        log.step(root, step, f"```repl\nprint({step})\n```")
        log.cell(root, step, 1, f"print({step})", f"{step}\n")
        log.add(StepFinished(node=root, step=step, status="finished"))
    call = log.call(root, 3, kind="compaction")
    log.reply(root, call, "Printed 1 and 2.")
    log.add(Compaction(node=root, step=3, summary="Printed 1 and 2.", before_tokens=90_000, after_tokens=2_000))
    log.step(root, 3, "FINAL(done)")
    log.add(StepFinished(node=root, step=3, status="finished"))
    log.finish(answer="done")
    return log


def hostile() -> Trajectory:
    """Texts that try to be markup, terminal controls, or to turn the line around; and far too long ones."""
    log = Trajectory()
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    bidi = "\u202egnp.exe\u202c \u2066inner\u2069 \u200bzero\u200dwidth"
    root = log.begin(evil + " " + bidi)
    log.step(root, 1, evil + "\n```repl\nprint('" + bidi + "')\n```", MessageInfo("user", evil))
    output = "\x1b[31mred?\x1b[0m\x1b]0;title\x07 \r overwritten \x08\x08 " + bidi + "\n" + "W" * 500 + "\n"
    log.cell(root, 1, 1, f"print({evil!r})", output, variables=[VariableInfo(evil[:40], bidi, "1", evil[:80])])
    long = BlobText(hashlib.sha256(b"long").hexdigest(), 52_428_800, evil + "x" * 400, "y" * 100 + evil)
    log.add(CellStarted(node=root, step=1, cell=2, code="print('x' * 50_000_000)"))
    log.add(CellOutput(node=root, step=1, cell=2, stream="stdout", text=long))
    log.end_cell(root, 1, 2, output_bytes=52_428_800, dropped_bytes=4096)
    log.add(StepFinished(node=root, step=1, status="finished"))
    log.finish(answer=evil)
    return log


def chatty(chunks: int = 1500) -> Trajectory:
    """A cell that prints more than a page keeps."""
    log = Trajectory()
    root = log.begin("Print a lot")
    log.step(root, 1, "```repl\nfor n in range(1500): print(n)\n```")
    log.add(CellStarted(node=root, step=1, cell=1, code="for n in range(1500): print(n)"))
    for n in range(chunks):
        log.add(CellOutput(node=root, step=1, cell=1, stream="stdout", text=f"line {n}\n"))
    log.end_cell(root, 1, 1)
    return log


def grown(nodes: int, *, seed: int = 7, leaves: int = 0, steps: int = 1, finished: bool = True) -> Trajectory:
    """A tree of `nodes` recursive nodes, the deepest at 8, each of some steps, with errors here and there."""
    rng = random.Random(seed)
    log = Trajectory()
    root = log.begin(f"Walk a tree of {nodes} nodes and report the longest path", limits={"max_nodes": nodes * 2})
    growing, depth_of, steps_of = [root], {root: 0}, {root: 0}
    while log.nodes < nodes:
        parent = growing[rng.randrange(len(growing))]
        width = min(rng.choice((1, 2, 3, 5, 8, 13)), nodes - log.nodes)
        steps_of[parent] += 1
        for child in _open_children(log, rng, parent, depth_of[parent] + 1, steps_of[parent], width):
            depth_of[child], steps_of[child] = depth_of[parent] + 1, steps
            for step in range(1, steps + 1):
                _work(log, rng, child, step, leaves)
            if depth_of[child] < 8:
                growing.append(child)
    if finished:
        for node in range(log.nodes - 1, 0, -1):
            log.add(NodeFinished(node=node, status="finished", answer=str(depth_of[node])))
        log.finish(answer="The longest path has 8 nodes.")
    return log


WORK = (
    "Read the section and list its claims",
    "Find the date of the incident",
    "Count the rows that match",
    "Compare both versions and name the first difference",
)


def _open_children(
    log: Trajectory, rng: random.Random, parent: int, depth: int, step: int, width: int
) -> Iterator[int]:
    code = f"replies = rlm_query_batched([task + part for part in parts[:{width}]])\nprint(len(replies))"
    log.step(parent, step, f"I divide the work among {width}.\n\n```repl\n{code}\n```")
    log.add(CellStarted(node=parent, step=step, cell=1, code=code))
    opened = SubcallOpened(node=parent, step=step, cell=1, subcall="c1", kind="rlm", count=width, batch=width > 1)
    log.add(opened)
    for index in range(width):
        yield log.node(
            f"{rng.choice(WORK)} ({index + 1} of {width})",
            parent=parent,
            depth=depth,
            step=step,
            cell=1,
            subcall="c1",
            index=index,
        )
    log.add(SubcallClosed(node=parent, step=step, cell=1, subcall="c1"))
    log.end_cell(parent, step, 1, f"{width}\n")
    log.add(StepFinished(node=parent, step=step, status="finished"))


def _work(log: Trajectory, rng: random.Random, node: int, step: int, leaves: int) -> None:
    log.step(node, step, "```repl\nprint(len(context))\n```", MessageInfo("user", rng.choice(WORK)))
    code = "print(len(context))"
    log.add(CellStarted(node=node, step=step, cell=1, code=code))
    log.add(CellOutput(node=node, step=step, cell=1, stream="stdout", text=f"{rng.randrange(10**6)}\n"))
    if leaves:
        log.leaves(node, step, 1, "c1", [f"part {n}" for n in range(leaves)], ["yes"] * leaves)
    if rng.random() < 0.03:
        error = ErrorInfo("IndexError", "list index out of range", detail=TRACEBACK)
        log.end_cell(node, step, 1, status="error", error=error)
    else:
        log.end_cell(node, step, 1)
    log.add(StepFinished(node=node, step=step, status="finished"))


def fixtures() -> dict[str, Trajectory]:
    return {
        "tour": tour(),
        "restarted_cell": restarted_cell(),
        "limited": limited(),
        "stopped": stopped(),
        "failed": failed(),
        "with_gaps": with_gaps(),
        "compacted": compacted(),
        "hostile": hostile(),
        "chatty": chatty(),
        "grown": grown(60, leaves=3),
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, log in fixtures().items():
        text = "".join(line + "\n" for line in log.lines())
        (FOLDER / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
