"""`deep_tree`: recursion of given depth and size. Each node counts itself and its children: the answer is the size."""

from __future__ import annotations

from runs.lm.script import Rule, Script, Then, When
from runs.lm.scripts.parts import Count, Milliseconds, Options, answer, cell, fields


class DeepTree(Options, frozen=True):
    """`nodes` in all, the deepest at `depth` (root 0). Needs the session's `max_depth` above `depth`: deeper calls
    would be plain ones, and they answer 1 as well."""

    depth: Count = 5
    nodes: Count = 300
    latency_ms: Milliseconds = 0


# The size of a subtree and its levels stand in the prompt of its node, so one rule serves the whole tree.
GROW = """
size, levels = {plan}
below, prompts = size - 1, []
if below and levels:
    children = below if levels == 1 else max(1, min(below // levels, round(below ** (1 / levels))))
    for place in range(children):
        share = below // children + (place < below % children)
        prompts.append(f"subtree of {{share}} nodes, {{levels - 1}} levels below")
replies = rlm_query_batched(prompts) if prompts else []
print(len(replies), "children")
"""

READ_PLAN = r"""map(int, __import__("re").search(r"subtree of (\d+) nodes, (\d+) levels", str(context)).groups())"""


def deep_tree(options: DeepTree) -> Script:
    done = answer("1 + sum(int(reply) for reply in replies)")
    root = GROW.format(plan=f"({options.nodes}, {options.depth})") + done
    child = GROW.format(plan=READ_PLAN) + done
    rules = [
        Rule(when=When(kind="turn", depth=0), reply=cell(root), latency_ms=options.latency_ms),
        Rule(when=When(kind="turn"), reply=cell(child), latency_ms=options.latency_ms),
        Rule(when=When(kind="leaf"), reply="1", latency_ms=options.latency_ms),
    ]
    return Script(rules=rules, default=Then(reply="1"), title="A deep tree", **fields(options))


SCRIPTS = {"deep_tree": (DeepTree, deep_tree)}
