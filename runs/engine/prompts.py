"""The wording of the standard profile: our own, for the published RLM protocol.

Protocol: Zhang, Kraska, Khattab, "Recursive Language Models" (arXiv 2512.24601), with the REPL names of `rlms` 0.1.3,
so that models trained on it find what they know.
"""

from __future__ import annotations

from runs.engine.state import NodeTask, ToolInfo

_SYSTEM = """\
You answer a question about a context that is far too long to read at once. The context is a variable in a Python REPL; \
you see it only through the code you write. Work step by step: look, plan, compute, check, answer.

Write Python in a fenced block that starts with ```repl. Every such block of your reply runs in order, in one session \
that keeps its variables between turns, and you are shown what it printed (long output is cut in the middle). Only what \
you print is shown; a bare expression is not.

In the REPL:
- `context`: {context}. Print its length and a few slices before you rely on its shape.
- `llm_query(prompt)`: ask {sub_model} about a text of up to some hundred thousand characters; returns its reply. It \
sees only the prompt you give it.
- `llm_query_batched(prompts)`: the same for a list of prompts, answered at the same time, in order. Prefer it to a loop.
{recursion}
- `SHOW_VARS()`: the variables that exist.
- `answer`: a dict. When you know the answer, run `answer["content"] = ...; answer["ready"] = True`. While you work you \
may keep your best answer so far in `answer["content"]`.{tools}

How to work well:
- Use Python for what is exact: searching, parsing, counting, sorting, arithmetic. Use `llm_query` for what needs \
reading: meaning, judgement, summaries. Filter with Python first, so that models read only what matters.
- Split long texts into chunks that keep records whole, batch the calls, keep the replies in variables, and combine them.
- A sub-call that fails returns a text that starts with "Error:". Check for it.
- Look at a sample of what your code produced before you trust it.
- Do not answer from memory or a guess while the context can tell. Do not print the whole context.
{budget}"""

_RECURSIVE = """\
- `rlm_query(prompt)`: like `llm_query`, but the prompt becomes the `context` of a new REPL session with a model of its \
own that works on it as you do. For parts that need several steps; costs more. `rlm_query_batched(prompts)` takes a \
list."""

_NOT_RECURSIVE = """\
- `rlm_query(prompt)`, `rlm_query_batched(prompts)`: here the same as `llm_query` and `llm_query_batched`."""


def system_prompt(task: NodeTask) -> str:
    """The standard system prompt for one node; a session's own text replaces it whole."""
    if task.system_prompt is not None:
        return task.system_prompt
    return _SYSTEM.format(
        context=_context_words(task),
        sub_model=task.sub_model or "a language model",
        recursion=_RECURSIVE if task.recursive else _NOT_RECURSIVE,
        tools=_tools_words(task.tools),
        budget=_budget_words(task),
    )


def question_prompt(task: NodeTask, probe: str) -> str:
    """The first user message: what is asked, and what is known of the context."""
    described = f"The context is {_context_words(task)}, {task.context_chars:,} characters or bytes long."
    if task.context_name:
        described += f" It is called {task.context_name!r}."
    if task.question:
        asked = f"Question: {task.question}"
    else:
        asked = "Your task is in the context itself: read what it asks for and answer that."
    parts = [asked, described]
    if probe:
        parts.append(f"A first look at it:\n{probe}")
    return "\n\n".join(parts)


def turn_prompt(turn: int, most: int) -> str:
    if turn >= most:
        return f"Turn {turn}/{most}: this is your last turn. Give the answer now."
    if turn == 1:
        return f"Turn 1/{most}: look at the context first."
    return f"Turn {turn}/{most}:"


FINAL_REQUEST = """\
There are no turns left. Answer the question now, in plain text and without code, from what you have found. Say what \
is missing if the answer is not complete."""

COMPACTION_REQUEST = """\
The conversation is getting too long to continue. Write a summary that lets you go on without it: what the question \
needs, what you found out with the exact values, which variables hold what, what failed and why, and what to do next. \
The REPL and its variables stay as they are."""

AFTER_COMPACTION = """\
Summary of the conversation so far (the REPL and its variables are as you left them):

{summary}

Go on from here."""

NO_CODE = """\
Your reply had no code to run and no answer. Write a ```repl block, or set `answer["content"]` and \
`answer["ready"] = True` in one."""

CUT_OFF = """\
Your reply was cut off inside a code block, so nothing of it was run. Write shorter code."""


def _context_words(task: NodeTask) -> str:
    return {"text": "a `str`", "json": "parsed JSON", "bytes": "a `bytes` object"}.get(task.context_kind, "a value")


def _tools_words(tools: tuple[ToolInfo, ...]) -> str:
    if not tools:
        return ""
    lines = "".join(f"\n- `{tool.name}`: {tool.description or 'defined for this session'}" for tool in tools)
    return f"\nAlso defined:{lines}"


def _budget_words(task: NodeTask) -> str:
    limits = task.limits
    words = [f"{limits.max_steps_per_node} turns", f"{limits.cell_timeout_s:g} s of computing for each block"]
    if limits.max_lm_calls is not None:
        words.append(f"{limits.max_lm_calls:,} model calls in all")
    return f"- You have {', '.join(words)}. Enough is enough: answer as soon as you are sure."
