"""Small logs, one for each thing that both folds and the page have to get right."""

from __future__ import annotations

import hashlib

from runs.events.types import (
    BlobText,
    CellOutput,
    CellStarted,
    Compaction,
    ErrorInfo,
    Gap,
    LimitHit,
    LmFailed,
    LmFinished,
    LmOutput,
    Log,
    MessageInfo,
    NodeFinished,
    NodeSandbox,
    NodeStarted,
    SessionFinished,
    SessionForked,
    SessionStopRequested,
    SnapshotFailed,
    SnapshotTaken,
    StepFinished,
    StepResumed,
    StepRetried,
    StepStarted,
    StepWaiting,
    SubcallClosed,
    SubcallOpened,
    VariableInfo,
)
from tests.trajectories.builder import Trajectory

TRACEBACK = (
    'Traceback (most recent call last):\n  File "<cell>", line 3, in <module>\n    parts[12]\nIndexError: list index'
    " out of range"
)


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


def forked() -> Trajectory:
    """A fork: two steps that another session did, then its own, and a step whose state could not be saved."""
    log = Trajectory()
    root = log.begin("Which line is the longest?")
    for number in (1, 2):
        log.step(root, number, f"```repl\nx = {number}\n```", cost=500)
        log.cell(root, number, 1, f"x = {number}", variables=[VariableInfo("x", "int", "", str(number))])
        taken = SnapshotTaken(
            node=root, step=number, snapshot=f"n-{number}", holds=["variables"], size_bytes=64, changed=["x"]
        )
        log.add(StepFinished(node=root, step=number, status="finished"))
        log.add(taken)
    difference = {"what": "question", "before": "Which line is the shortest?", "after": "Which line is the longest?"}
    log.add(
        SessionForked(
            from_session="11111111-1111-4111-8111-111111111111",
            from_title="Which line is the shortest?",
            from_step=2,
            snapshot="n-2",
            differences=[difference],
        )
    )
    log.step(root, 3, "```repl\nimport threading\ny = x\n```", cost=300)
    log.cell(root, 3, 1, "y = x", variables=[VariableInfo("x", "int", "", "2"), VariableInfo("y", "int", "", "2")])
    log.add(StepFinished(node=root, step=3, status="finished"))
    log.add(SnapshotFailed(node=root, step=3, reason="the sandbox was lost before it was stored"))
    log.finish(answer="line 7")
    return log


def snapshotted() -> Trajectory:
    """Snapshots that arrive during later steps, leave variables out, fail, and are taken again."""
    log = Trajectory()
    root = log.begin("What changed?")
    for number, code in enumerate(("x = 1", "lock = threading.Lock()", "del x"), start=1):
        log.step(root, number, f"```repl\n{code}\n```")
        log.cell(root, number, 1, code)
        log.add(StepFinished(node=root, step=number, status="finished"))
        if number == 2:
            log.add(SnapshotTaken(node=root, step=1, snapshot="n-1", holds=["variables", "files"], changed=["x"]))
            log.add(SnapshotFailed(node=root, step=2, reason="its contents could not be stored: disk full"))
    log.add(NodeSandbox(node=root, state="lost", sandbox="s-1", reason="the process ended"))
    log.add(NodeSandbox(node=root, state="rebuilt", provider="local", tier="landlock", sandbox="s-2"))
    again = SnapshotTaken(node=root, step=2, snapshot="n-2", holds=["variables"], dropped=["lock"], changed=["lock"])
    log.add(again)
    log.add(SnapshotTaken(node=root, step=3, snapshot="n-3", size_bytes=96, stored_bytes=64, changed=["-x"]))
    log.add(SnapshotFailed(node=root, step=4, reason="the step was ended while its code was running"))
    log.finish(answer="x")
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
    out = []
    for node in (left, right):
        log.add(StepStarted(node=node, step=1, messages=[MessageInfo("user", "go")]))
        out.append(log.call(node, 1, kind="turn"))
    log.add(SessionStopRequested(node=left, by="ada"))
    cut_off = ErrorInfo("Abandoned", "the call was out when its node ended; what it cost is not known")
    log.add(LmFailed(node=left, call=out[0], error=cut_off))
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
