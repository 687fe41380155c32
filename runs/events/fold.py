"""Events to state: one function, used live, on reload, for playback and on the server.

`fold` changes the tree in place. It is total: an event about something that the log does not know (because of a gap,
or in a log from elsewhere) makes a placeholder or is counted where it can be, and never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from runs.events import types
from runs.events.tree import (
    KEPT_FIRST_CHUNKS,
    MAX_NOTES,
    MAX_OUTPUT_CHUNKS,
    MAX_STREAMED_CHUNKS,
    Call,
    Cell,
    Chunk,
    CompactionInfo,
    ForkInfo,
    LimitInfo,
    Node,
    Note,
    Retry,
    SandboxInfo,
    SnapshotInfo,
    Step,
    SubCall,
    Tree,
    Usage,
)


class _Position(msgspec.Struct):
    seq: int
    at: int


_positions = msgspec.json.Decoder(_Position)


def fold_line(tree: Tree, line: str | bytes) -> types.AnyEvent:
    """Fold one event as it goes over the wire. Raises `msgspec.ValidationError` on a type it does not know."""
    event, position = types.decode_event(line), _positions.decode(line)
    fold(tree, event, seq=position.seq, at=position.at)
    return event


def fold(tree: Tree, event: types.AnyEvent, *, seq: int, at: int) -> None:
    """Take `event` into the state."""
    tree.seq, tree.at = seq, at
    number = getattr(event, "node", None)
    if number is not None and not isinstance(event, types.NodeStarted | types.SessionStopRequested):
        _node(tree, number).changed_seq = seq
    _CASES[type(event)](tree, event)


# Finding and making ---------------------------------------------------------------------------------------------------


def _node(tree: Tree, number: int) -> Node:
    found = tree.nodes.get(number)
    if found is None:
        found = Node(number, tree.seq, tree.seq, status="unknown", started_at=tree.at)
        tree.nodes[number] = found
        tree.roots.append(number)
    return found


def _step(tree: Tree, node: Node, number: int) -> Step:
    for step in reversed(node.steps):
        if step.step == number:
            return step
    step = Step(number, tree.seq, tree.at)
    node.steps.append(step)
    _count(tree, node, "steps", 1)
    return step


def _cell(tree: Tree, step: Step, number: int) -> Cell:
    for cell in reversed(step.cells):
        if cell.cell == number:
            return cell
    cell = Cell(number, tree.seq, "", 1, False, tree.at)
    step.cells.append(cell)
    return cell


def _subcall(tree: Tree, cell: Cell, name: str, kind: str) -> SubCall:
    for subcall in reversed(cell.subcalls):
        if subcall.subcall == name:
            return subcall
    subcall = SubCall(name, kind, 0, False, tree.seq, tree.at)
    cell.subcalls.append(subcall)
    return subcall


def _lineage(tree: Tree, node: Node) -> Iterator[Node]:
    """The node and its ancestors: a parent is always older than its child, so the walk ends."""
    current: Node | None = node
    while current is not None:
        yield current
        current = tree.nodes.get(current.parent) if current.parent is not None else None


def _count(tree: Tree, node: Node, what: str, amount: int) -> None:
    for usage in (tree.used, node.own, *(above.subtree for above in _lineage(tree, node))):
        setattr(usage, what, getattr(usage, what) + amount)


def _note(tree: Tree, level: str, message: str, node: int | None, step: int | None = None) -> None:
    if len(tree.notes) >= MAX_NOTES:
        tree.notes_omitted += 1
        return
    tree.notes.append(Note(tree.seq, tree.at, level, message, node, step))


# Session and nodes ----------------------------------------------------------------------------------------------------


def _session_started(tree: Tree, event: types.SessionStarted) -> None:
    tree.status, tree.started_at = "running", tree.at
    tree.title, tree.question, tree.context = event.title, event.question, event.context
    tree.config, tree.labels = event.config, event.labels


def _session_forked(tree: Tree, event: types.SessionForked) -> None:
    """The past was another session's: what was used until here does not count as used by this one."""
    inherited, tree.used = tree.used, Usage()
    for node in tree.nodes.values():
        node.own, node.subtree = Usage(), Usage()
        if node.status == "running":
            # It goes on here.
            _count(tree, node, "nodes", 1)
    tree.forked = ForkInfo(
        tree.seq,
        event.from_session,
        event.from_title,
        event.from_node,
        event.from_step,
        event.snapshot,
        event.differences,
        inherited,
    )


def _stop_requested(tree: Tree, event: types.SessionStopRequested) -> None:
    _note(tree, "stop", event.by, event.node)
    if event.node == 0:
        tree.stopping = True
    else:
        _node(tree, event.node).stopping = True


def _session_finished(tree: Tree, event: types.SessionFinished) -> None:
    tree.status, tree.answer, tree.partial, tree.error = event.status, event.answer, event.partial, event.error
    tree.stopping, tree.finished_at = False, tree.at


def _node_started(tree: Tree, event: types.NodeStarted) -> None:
    node = tree.nodes.get(event.node)
    if node is None:
        node = Node(event.node, tree.seq, tree.seq)
        tree.nodes[event.node] = node
        parent = tree.nodes.get(event.parent) if event.parent is not None else None
        (tree.roots if parent is None else parent.children).append(event.node)
        node.parent = event.parent if parent is not None else None
    node.changed_seq = tree.seq
    node.status, node.depth, node.prompt, node.model = "running", event.depth, event.prompt, event.model
    node.step, node.cell, node.subcall, node.index = event.step, event.cell, event.subcall, event.index
    node.started_at = tree.at
    _count(tree, node, "nodes", 1)
    if node.parent is not None and event.subcall:
        step = _step(tree, tree.nodes[node.parent], event.step)
        _subcall(tree, _cell(tree, step, event.cell), event.subcall, "rlm").children.append(event.node)


def _node_sandbox(tree: Tree, event: types.NodeSandbox) -> None:
    node = _node(tree, event.node)
    node.sandboxes_lost += event.state == "lost"
    before = node.sandbox
    # The end and the loss of a sandbox do not repeat where it was.
    provider = event.provider or (before.provider if before else "")
    tier = event.tier or (before.tier if before else "")
    node.sandbox = SandboxInfo(event.state, provider, tier, event.sandbox, event.reason)


def _node_finished(tree: Tree, event: types.NodeFinished) -> None:
    node = _node(tree, event.node)
    node.status, node.answer, node.partial, node.error = event.status, event.answer, event.partial, event.error
    node.stopping, node.finished_at = False, tree.at
    for step in node.steps[-1:]:
        for call in step.calls:
            _abandon(call)
        for cell in step.cells:
            cell.status = "stopped" if cell.status == "running" else cell.status
            for subcall in cell.subcalls:
                if subcall.status == "running":
                    subcall.status = "stopped"
                    for call in subcall.calls:
                        _abandon(call)


def _abandon(call: Call) -> None:
    if call.status == "running":
        call.status = "abandoned"


# Steps ----------------------------------------------------------------------------------------------------------------


def _step_started(tree: Tree, event: types.StepStarted) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.status, step.attempt, step.messages = "running", event.attempt, event.messages


def _step_waiting(tree: Tree, event: types.StepWaiting) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.status, step.waits_for = "waiting", event.children


def _step_resumed(tree: Tree, event: types.StepResumed) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.status, step.waits_for = "running", 0


def _step_retried(tree: Tree, event: types.StepRetried) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.status, step.attempt = "running", event.attempt
    step.retries.append(Retry(tree.seq, event.attempt, event.reason))


def _step_finished(tree: Tree, event: types.StepFinished) -> None:
    node = _node(tree, event.node)
    step = _step(tree, node, event.step)
    step.status, step.duration_ms, step.error = event.status, event.duration_ms, event.error
    step.waits_for, step.finished_at = 0, tree.at
    if event.status == "failed":
        _count(tree, node, "errors", 1)


# LM calls -------------------------------------------------------------------------------------------------------------


def _lm_started(tree: Tree, event: types.LmStarted) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    call = Call(event.call, event.kind, event.model, event.index, tree.at, prompt=event.prompt)
    tree.calls[event.call] = call
    if event.kind == "leaf" and event.cell:
        _subcall(tree, _cell(tree, step, event.cell), event.subcall, "llm").calls.append(call)
    else:
        step.calls.append(call)


def _lm_output(tree: Tree, event: types.LmOutput) -> None:
    call = tree.calls.get(event.call)
    if call is not None and call.status == "running" and len(call.streamed) < MAX_STREAMED_CHUNKS:
        call.streamed.append(event.text)


def _lm_finished(tree: Tree, event: types.LmFinished) -> None:
    node = _node(tree, event.node)
    _count(tree, node, "lm_calls", 1)
    _count(tree, node, "input_tokens", event.input_tokens or 0)
    _count(tree, node, "output_tokens", event.output_tokens or 0)
    _count(tree, node, "cost_micro_usd", event.cost_micro_usd or 0)
    _count(tree, node, "unpriced_calls", int(event.cost_micro_usd is None))
    call = tree.calls.get(event.call)
    if call is None:
        return
    call.status, call.reply, call.streamed = "finished", event.reply, []
    call.finish_reason, call.attempts, call.maybe_repeated = event.finish_reason, event.attempts, event.maybe_repeated
    call.input_tokens, call.output_tokens = event.input_tokens, event.output_tokens
    call.cached_tokens, call.cost_micro_usd = event.cached_tokens, event.cost_micro_usd
    call.cost_source = event.cost_source
    call.duration_ms, call.finished_at = event.duration_ms, tree.at


def _lm_failed(tree: Tree, event: types.LmFailed) -> None:
    node = _node(tree, event.node)
    _count(tree, node, "lm_calls", 1)
    # A call that was out when somebody stopped its node is no error of anybody.
    abandoned = event.error.type == "Abandoned"
    if not abandoned:
        _count(tree, node, "lm_calls_failed", 1)
        _count(tree, node, "errors", 1)
    call = tree.calls.get(event.call)
    if call is not None:
        call.status = "abandoned" if abandoned else "failed"
        call.error, call.attempts = event.error, event.attempts
        call.duration_ms, call.finished_at = event.duration_ms, tree.at


# Cells and sub-calls --------------------------------------------------------------------------------------------------


def _cell_of(tree: Tree, node: int, step: int, cell: int) -> Cell:
    return _cell(tree, _step(tree, _node(tree, node), step), cell)


def _cell_started(tree: Tree, event: types.CellStarted) -> None:
    cell = _cell_of(tree, event.node, event.step, event.cell)
    cell.code, cell.attempt, cell.built_in = event.code, event.attempt, event.built_in
    cell.status, cell.started_at, cell.finished_at = "running", tree.at, None
    cell.output, cell.omitted_chunks, cell.error = [], 0, None


def _cell_output(tree: Tree, event: types.CellOutput) -> None:
    cell = _cell_of(tree, event.node, event.step, event.cell)
    cell.output.append(Chunk(tree.seq, event.stream, event.text, event.late))
    if len(cell.output) > MAX_OUTPUT_CHUNKS:
        del cell.output[KEPT_FIRST_CHUNKS]
        cell.omitted_chunks += 1


def _cell_finished(tree: Tree, event: types.CellFinished) -> None:
    node = _node(tree, event.node)
    cell = _cell_of(tree, event.node, event.step, event.cell)
    cell.status, cell.duration_ms, cell.error, cell.finished_at = event.status, event.duration_ms, event.error, tree.at
    cell.variables, cell.variables_omitted = event.variables, event.variables_omitted
    cell.output_bytes, cell.dropped_bytes, cell.answered = event.output_bytes, event.dropped_bytes, event.answered
    _count(tree, node, "output_bytes", event.output_bytes)
    if event.status != "ok":
        _count(tree, node, "errors", 1)


def _subcall_opened(tree: Tree, event: types.SubcallOpened) -> None:
    subcall = _subcall(tree, _cell_of(tree, event.node, event.step, event.cell), event.subcall, event.kind)
    subcall.kind, subcall.count, subcall.batch = event.kind, event.count, event.batch


def _subcall_closed(tree: Tree, event: types.SubcallClosed) -> None:
    subcall = _subcall(tree, _cell_of(tree, event.node, event.step, event.cell), event.subcall, "llm")
    subcall.status, subcall.failed, subcall.finished_at = "finished", event.failed, tree.at


# Others ---------------------------------------------------------------------------------------------------------------


def _snapshot_taken(tree: Tree, event: types.SnapshotTaken) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.snapshot = SnapshotInfo(
        tree.seq,
        event.snapshot,
        event.holds,
        event.size_bytes,
        event.stored_bytes,
        event.dropped,
        event.changed,
    )
    step.snapshot_error = ""


def _snapshot_failed(tree: Tree, event: types.SnapshotFailed) -> None:
    _step(tree, _node(tree, event.node), event.step).snapshot_error = event.reason


def _limit_hit(tree: Tree, event: types.LimitHit) -> None:
    tree.limits_hit.append(
        LimitInfo(tree.seq, event.limit, event.used, event.allowed, event.node, event.step, event.partial)
    )
    if event.node is not None:
        _node(tree, event.node).limit = event.limit


def _compaction(tree: Tree, event: types.Compaction) -> None:
    step = _step(tree, _node(tree, event.node), event.step)
    step.compaction = CompactionInfo(event.summary, event.before_tokens, event.after_tokens)


def _log(tree: Tree, event: types.Log) -> None:
    _note(tree, event.level, event.message, event.node, event.step)
    if event.level == "error":
        if event.node is not None:
            _count(tree, _node(tree, event.node), "errors", 1)
        else:
            tree.used.errors += 1


def _gap(tree: Tree, event: types.Gap) -> None:
    _note(tree, "gap", event.reason, event.node)


_CASES: dict[type[types.Event], Callable[[Tree, Any], None]] = {
    types.SessionForked: _session_forked,
    types.SessionStarted: _session_started,
    types.SessionStopRequested: _stop_requested,
    types.SessionFinished: _session_finished,
    types.NodeStarted: _node_started,
    types.NodeSandbox: _node_sandbox,
    types.NodeFinished: _node_finished,
    types.StepStarted: _step_started,
    types.StepWaiting: _step_waiting,
    types.StepResumed: _step_resumed,
    types.StepRetried: _step_retried,
    types.StepFinished: _step_finished,
    types.LmStarted: _lm_started,
    types.LmOutput: _lm_output,
    types.LmFinished: _lm_finished,
    types.LmFailed: _lm_failed,
    types.CellStarted: _cell_started,
    types.CellOutput: _cell_output,
    types.CellFinished: _cell_finished,
    types.SubcallOpened: _subcall_opened,
    types.SubcallClosed: _subcall_closed,
    types.SnapshotTaken: _snapshot_taken,
    types.SnapshotFailed: _snapshot_failed,
    types.LimitHit: _limit_hit,
    types.Compaction: _compaction,
    types.Log: _log,
    types.Gap: _gap,
}
