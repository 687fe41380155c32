"""The tree of a session as lines of text, from the folded state."""

from __future__ import annotations

from collections.abc import Iterator

from runs.events.tree import Node, Step, Tree
from runs.terminal.plain import first_line, fit, safe

GLYPHS = {"running": "●", "waiting": "◌", "finished": "✓", "limited": "△", "stopped": "■", "failed": "✗"}
COLOURS = {"running": 36, "waiting": 35, "finished": 32, "limited": 33, "stopped": 37, "failed": 31}
LEAST_COLUMNS = 20
FACTS_COLUMNS = 34


def picture(tree: Tree, *, columns: int, rows: int, colour: bool) -> list[str]:
    """At most `rows` lines of at most `columns`. Of a large tree the nodes that are working are shown first."""
    columns = max(columns, LEAST_COLUMNS)
    lines = [fit(_headline(tree), columns)]
    nodes = list(_in_order(tree))
    room = max(1, rows - 1)
    shown = nodes if len(nodes) <= room else _busiest(nodes, room - 1)
    lines += [_row(node, columns, colour) for node in shown]
    if len(shown) < len(nodes):
        lines.append(fit(f"  … and {len(nodes) - len(shown):,} more nodes", columns))
    return lines


def summary(tree: Tree) -> str:
    """What the session has used: one line."""
    used = tree.used
    cost = f"${used.cost_micro_usd / 1_000_000:.4f}"
    if used.unpriced_calls:
        cost = f"≥ {cost}" if used.cost_micro_usd else "cost unknown"
    tokens = used.input_tokens + used.output_tokens
    return f"{used.nodes:,} nodes, {used.steps:,} steps, {used.lm_calls:,} LM calls, {tokens:,} tokens, {cost}"


def _headline(tree: Tree) -> str:
    labels = f" [{', '.join(tree.labels)}]" if tree.labels else ""
    seconds = ((tree.finished_at or tree.at) - (tree.started_at or tree.at)) / 1000
    state = "stopping" if tree.stopping else tree.status
    return safe(f"{state}{labels}  {seconds:.1f} s  {summary(tree)}")


def _in_order(tree: Tree) -> Iterator[Node]:
    """Depth first, as the tree is read. Not recursive: a tree may be deeper than Python's stack."""
    waiting = [*reversed(tree.roots)]
    while waiting:
        node = tree.nodes[waiting.pop()]
        yield node
        waiting += reversed(node.children)


def _busiest(nodes: list[Node], room: int) -> list[Node]:
    """The root, then running nodes, then those that changed last; in the order of the tree."""
    ranked = sorted(nodes, key=lambda node: (node.depth > 0, node.status != "running", -node.changed_seq))
    kept = {node.node for node in ranked[:room]}
    return [node for node in nodes if node.node in kept]


def _row(node: Node, columns: int, colour: bool) -> str:
    status = "waiting" if node.status == "running" and _waits(node) else node.status
    glyph = GLYPHS.get(status, "?")
    facts = f"{len(node.steps)} steps, {node.subtree.lm_calls} calls"
    if node.subtree.errors:
        facts += f", {node.subtree.errors} errors"
    indent = "  " * min(node.depth, 12)
    text = fit(f"{indent}{glyph} {node.node} {_doing(node)}", max(LEAST_COLUMNS, columns - FACTS_COLUMNS))
    line = fit(f"{text}  ({facts})", columns)
    return f"\x1b[{COLOURS.get(status, 37)}m{line}\x1b[0m" if colour else line


def _doing(node: Node) -> str:
    """What it was asked while it has done nothing, what it does, and in the end what it answered."""
    if node.status != "running":
        return first_line(node.answer) or (safe(node.error.message) if node.error else "") or first_line(node.prompt)
    step = node.steps[-1] if node.steps else None
    return _activity(step) if step is not None else first_line(node.prompt)


def _activity(step: Step) -> str:
    if step.status == "waiting":
        return f"waits for {step.waits_for} recursive calls"
    if step.cells:
        cell = step.cells[-1]
        last = next((line for chunk in reversed(cell.output) if (line := first_line(chunk.text))), "")
        return f"step {step.step}: {last or first_line(cell.code)}"
    return f"step {step.step}: asks the model"


def _waits(node: Node) -> bool:
    return bool(node.steps) and node.steps[-1].status == "waiting"
