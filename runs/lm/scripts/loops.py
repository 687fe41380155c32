"""`hundred_steps`: one node, many steps without latency: what a step costs. `measure`: the shortest whole session."""

from __future__ import annotations

from runs.lm.script import Rule, Script, Then, When
from runs.lm.scripts.parts import Count, Milliseconds, Options, answer, cell, fields


class Loop(Options, frozen=True):
    """The answer is 1 + 2 + ... + steps, added up in the sandbox, so a lost or doubled step shows."""

    steps: Count = 100
    latency_ms: Milliseconds = 0


def hundred_steps(options: Loop) -> Script:
    last = f"total = globals().get('total', 0) + {{step}}\n{answer('total')}"
    first = "total = {step}\nprint(total)"
    middle = "total += {step}\nprint(total)"
    rules = [
        Rule(when=When(kind="turn", step=options.steps), reply=cell(last), latency_ms=options.latency_ms),
        Rule(when=When(kind="turn", step=1), reply=cell(first), latency_ms=options.latency_ms),
        Rule(when=When(kind="turn"), reply=cell(middle), latency_ms=options.latency_ms),
    ]
    return Script(rules=rules, default=Then(reply="(scripted)"), title="Steps without latency", **fields(options))


class Measure(Options, frozen=True):
    latency_ms: Milliseconds = 0


def measure(options: Measure) -> Script:
    code = f"print(len(context))\n{answer('len(context)')}"
    rule = Rule(when=When(kind="turn"), reply=cell(code), latency_ms=options.latency_ms)
    question = "How many characters has the context?"
    return Script(rules=[rule], default=Then(reply="(scripted)"), title="Length", question=question, **fields(options))


SCRIPTS = {"hundred_steps": (Loop, hundred_steps), "measure": (Measure, measure)}
