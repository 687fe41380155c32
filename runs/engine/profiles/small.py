"""The small profile: for models of one or two billion parameters, which cannot follow a page of instructions.

A built-in look at the context, one worked example near to the question, answers taken only after something was run, and
short feedback. The model's code runs as it wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from runs.engine import parsing
from runs.engine.io import ChatMessage
from runs.engine.observation import cell_report, shown
from runs.engine.profile import Parsed
from runs.engine.profiles.small_exemplars import EXEMPLARS, exemplar_for
from runs.engine.profiles.small_probe import Seen, probe_code, read_probe
from runs.engine.state import CellRecord, NodeState, NodeTask

SYSTEM = """\
You are a Recursive Language Model: you answer a question about a long text held in the Python variable `context`. You \
see only its first lines; read the rest with Python.
Reply with one ```repl block, then FINAL_VAR(result), or FINAL(text) once you have seen the answer.
Available: `context`; `llm_query(prompt)` and `llm_query_batched(prompts)`, a small language model; modules re, csv, io, \
collections.
Use Python for searching, counting and arithmetic. Use llm_query only where meaning matters (topic, sentiment, summary)."""

RESULT = "result"
"""The variable that the examples put their result into."""
PLACEHOLDERS = frozenset({"", "text", "answer", "..."})
"""What models write between the parentheses when they copy the instructions instead of answering."""
CODE_TOKENS = 320
FINAL_TOKENS = 120
SHOWN_CHARS = 700
TEMPERATURES = (0.0, 0.5, 0.7, 0.9)
"""By failed tries: a small model that is asked again without any chance writes the same thing again."""
EMPTY_ACCEPTED_FROM_TURN = 3
"""Nothing found is most often a wrong pattern; that it is nothing indeed is believed after two tries."""
NO_NEAR_LINES = frozenset({"table", "summary", "judge"})
"""Kinds of questions for which single lines mislead."""
SEARCHES = frozenset({"find", "find-line", "find-base"})
"""Kinds whose answer may stand in the very lines that the probe found."""
FINAL_GRAMMAR = 'root ::= "FINAL(" [^\\n]+ ")"'

FINISH = """\
if {name!r} not in globals():
    print("There is no variable {name}.", SHOW_VARS())
elif globals()[{name!r}] in (None, "", 0, [], {{}}, (), set()) and not {accept_empty}:
    print("Nothing was found.")
else:
    FINAL_VAR({name!r})
"""


class SmallProfile:
    name = "small"

    def probe(self, task: NodeTask) -> str | None:
        return probe_code(task.question)

    def opening(self, task: NodeTask, probe: str) -> list[ChatMessage]:
        seen = read_probe(probe)
        question = _asked(task, seen)
        kind = _kind(task, seen)
        example = EXEMPLARS[kind]
        messages = [ChatMessage("system", task.system_prompt or SYSTEM)]
        messages.append(ChatMessage("user", _question(example.question, example.shape, (example.first,), ())))
        for place, text in enumerate(example.replies):
            messages.append(ChatMessage("user" if place % 2 else "assistant", text))
        near = () if kind in NO_NEAR_LINES else seen.near
        # The line of column names is in the shape already; the next one shows what values look like.
        first = seen.first[1:] if seen.kind.startswith("CSV") else seen.first
        # Where single lines are asked for, `files` would only be in the way.
        shape = seen.shape if kind.startswith("files-") else seen.shape.partition("; the dict")[0]
        messages.append(ChatMessage("user", _question(question, shape, first[:2], near)))
        return messages

    def turn(self, task: NodeTask, node: NodeState, turn: int) -> ChatMessage | None:
        return None

    def parse(self, task: NodeTask, node: NodeState, reply: str, turn: int) -> Parsed:
        blocks, prose = parsing.split_reply(reply)
        cells = tuple(_without_final(code) for code in parsing.code_cells(blocks)[:1])
        name = parsing.final_variable(reply, anywhere=True)
        final = parsing.final_text(prose, anywhere=True)
        if final is not None and name is None and (final == RESULT or (cells and final.isidentifier())):
            # Small models write FINAL(result) when they mean the variable.
            name, final = final, None
        if name is not None and (cells or node.cells_run):
            return Parsed(cells, check=FINISH.format(name=name, accept_empty=turn >= EMPTY_ACCEPTED_FROM_TURN))
        if cells or not node.cells_run or final in PLACEHOLDERS:
            # An answer in the text counts only when the model has seen something before it wrote it.
            return Parsed(cells)
        return Parsed(final=final)

    def observe(self, task: NodeTask, node: NodeState, reply: str, cells: Sequence[CellRecord]) -> list[ChatMessage]:
        told, failed = self._verdict(task, node, cells)
        tries = node.notes.get("tries", 0)
        node.notes["tries"] = (tries if isinstance(tries, int) else 0) + 1 if failed else 0
        if cells:
            node.notes["seen"] = not failed
        if not told:
            # Asked again as if nothing had been said, at a higher temperature: told that its try was useless, a small
            # model writes worse code, not better.
            return []
        return [ChatMessage("assistant", reply), ChatMessage("user", told)]

    def ask(self, task: NodeTask, node: NodeState, turn: int) -> dict[str, Any]:
        tries = node.notes.get("tries", 0)
        temperature = TEMPERATURES[min(tries if isinstance(tries, int) else 0, len(TEMPERATURES) - 1)]
        if node.notes.get("seen"):
            return {"max_output_tokens": FINAL_TOKENS, "temperature": temperature, "gbnf": FINAL_GRAMMAR}
        return {"max_output_tokens": CODE_TOKENS, "temperature": temperature}

    def _verdict(self, task: NodeTask, node: NodeState, cells: Sequence[CellRecord]) -> tuple[str, bool]:
        """What to tell the model (nothing: ask again), and whether its try failed."""
        own = [cell for cell in cells if not cell.built_in]
        broken = next((cell for cell in own if cell.status != "ok"), None)
        if broken is not None:
            return f"{_last_lines(cell_report(broken))}\nCorrect the code.", True
        refused = any(cell.built_in for cell in cells)
        output = "\n".join(text for cell in own if (text := shown(cell.stdout).strip()))
        if output and not refused:
            return f"{output[:SHOWN_CHARS]}\n\nQuestion: {_asked(task, read_probe(node.probe))}", False
        seen = read_probe(node.probe)
        if own and seen.near and _kind(task, seen) in SEARCHES:
            found = "\n".join(seen.near)
            return f"Nothing matched. Lines near to the question:\n{found}\n\nQuestion: {_asked(task, seen)}", False
        return "", True


def _kind(task: NodeTask, seen: Seen) -> str:
    return exemplar_for(_asked(task, seen), seen.kind, _lines(seen))


def _asked(task: NodeTask, seen: Seen) -> str:
    """The root's question; a child has none, and what it is asked is the first line of its context."""
    return task.question or seen.task


def _question(question: str, shape: str, first: Sequence[str], near: Sequence[str]) -> str:
    text = f"Question: {question}\ncontext: {shape}. It starts:\n" + "\n".join(first)
    return text + "\nLines sharing words with the question:\n" + "\n".join(near) if near else text


def _lines(seen: Seen) -> int:
    found = re.search(r"(\d+) lines", seen.shape)
    return int(found.group(1)) if found else 0


def _without_final(code: str) -> str:
    """A FINAL_VAR that slipped into the code is taken out: it is judged after the code has run."""
    return re.sub(r"^FINAL_VAR\(.*\)[ \t]*$", "", code, flags=re.MULTILINE).rstrip() or code


def _last_lines(report: str) -> str:
    """The end of a traceback says what is wrong; the frames above it only take up room."""
    lines = [line for line in report.strip().split("\n") if line.strip()]
    return "\n".join(lines[-3:])[:SHOWN_CHARS]
