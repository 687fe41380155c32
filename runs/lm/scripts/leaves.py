"""Scripts that make many plain calls from code. A leaf answers with its place in the batch, so a lost, doubled or
swapped answer changes the sum."""

from __future__ import annotations

from runs.lm.script import Fault, Rule, Script, Share, Then, When
from runs.lm.scripts.parts import Count, Milliseconds, Options, answer, cell, fields


class FanOut(Options, frozen=True):
    """One cell with one batch of `calls`; the answer is 0 + 1 + ... + (calls - 1)."""

    calls: Count = 1000
    latency_ms: Milliseconds = 100


def fan_out(options: FanOut) -> Script:
    code = f"""
replies = llm_query_batched([f"item {{number}}" for number in range({options.calls})])
print(len(replies), "replies")
{answer("sum(int(reply) for reply in replies)")}
"""
    rules = [
        Rule(when=When(kind="leaf"), reply="{index}", latency_ms=options.latency_ms),
        Rule(when=When(kind="turn"), reply=cell(code)),
    ]
    return Script(rules=rules, default=Then(reply="(scripted)"), title="One wide batch", **fields(options))


class ManyLeaves(Options, frozen=True):
    """Each step makes one batch of `calls` and one single call; the answer is `steps` times 0 + ... + (calls - 1)."""

    steps: Count = 5
    calls: Count = 20
    latency_ms: Milliseconds = 5
    jitter_ms: Milliseconds = 45


def many_leaves(options: ManyLeaves) -> Script:
    work = f"""
replies = llm_query_batched([f"step {{step}} item {{number}}" for number in range({options.calls})])
single = int(llm_query("step {{step}} alone"))
total = globals().get("total", 0) + sum(int(reply) for reply in replies) + single
print(total)
"""
    leaf = Rule(when=When(kind="leaf"), reply="{index}", latency_ms=options.latency_ms, jitter_ms=options.jitter_ms)
    last = Rule(when=When(kind="turn", step=options.steps), reply=cell(work + answer("total")))
    rules = [leaf, last, Rule(when=When(kind="turn"), reply=cell(work))]
    return Script(rules=rules, default=Then(reply="(scripted)"), title="Many leaf calls", **fields(options))


class Flaky(ManyLeaves, frozen=True):
    """`many_leaves` where each kind of passing fault hits `rate` of the calls, `attempts` times in a row."""

    rate: Share = 0.1
    attempts: Count = 2


PASSING_FAULTS: tuple[Fault, ...] = ("429", "500", "503", "malformed", "truncated", "reset")


def flaky(options: Flaky) -> Script:
    calm = many_leaves(options)
    rules = [_failing(rule, fault, options) for rule in calm.rules for fault in PASSING_FAULTS]
    return Script(rules=[*rules, *calm.rules], default=calm.default, title="A flaky endpoint", **fields(options))


def _failing(rule: Rule, fault: Fault, options: Flaky) -> Rule:
    when = When(kind=rule.when.kind, step=rule.when.step, share=options.rate)
    retry_after_s = 0.05 if fault == "429" else None
    return Rule(
        when=when,
        reply=rule.reply,
        latency_ms=rule.latency_ms,
        jitter_ms=rule.jitter_ms,
        fault=fault,
        fault_attempts=options.attempts,
        retry_after_s=retry_after_s,
    )


SCRIPTS = {"fan_out": (FanOut, fan_out), "many_leaves": (ManyLeaves, many_leaves), "flaky": (Flaky, flaky)}
