"""`tour`: a scripted walk through everything a session can show, on the source of the standard library.

Only the words and the code are fixed. The code runs in a real sandbox on the real context, so its output, its error and
its answer are computed there. Leaf calls answer with a quotation of their prompt and say that they are scripted.
"""

from __future__ import annotations

from runs.lm.script import Rule, Script, Then, When
from runs.lm.scripts.parts import Options, answer, cell, fields

QUESTION = (
    "How many lines of the standard library's source define a class whose name ends in Error or Exception, "
    "and which file has the most of them?"
)

LOOK = cell(
    """
print(type(context).__name__, len(context), "characters,", context.count("\\n"), "lines")
print(context[:400])
""",
    "The context is too long to read, so I look at its size and its first lines before I decide how to cut it.",
)

SPLIT_WRONG = cell(
    """
files = dict(part.split(" ===\\n", 1) for part in context.split("# === file: "))
print(len(files), "files")
""",
    "Each file starts with a header line. I split the text there into a dictionary from file to source.",
)

SPLIT_RIGHT = cell(
    """
import re

pieces = re.split(r"^# === file: (.+?) ===$", context, flags=re.MULTILINE)
files = dict(zip(pieces[1::2], pieces[2::2])) or {"context": context}
pattern = re.compile(r"^[ \\t]*class[ \\t]+\\w*(?:Error|Exception)\\b", re.MULTILINE)
counts = {name: len(pattern.findall(source)) for name, source in files.items()}
top = sorted(counts, key=counts.get, reverse=True)[:4]
print(len(files), "files,", sum(counts.values()), "matching lines")
for name in top:
    print(f"{counts[name]:5} {name}")
""",
    "The text before the first header has no file name: that broke the dictionary. A regular expression with the name "
    "as a group gives names and sources in turn, and then the counting is plain Python.",
)

ASK_LEAVES = cell(
    """
openings = [f"What is the file {name} for? It starts:\\n{files[name].strip()[:600]}" for name in top]
for name, reply in zip(top, llm_query_batched(openings)):
    print(name, "->", reply)
""",
    "The numbers are there. For the reader I also want to know what the four leading files are: one plain model call "
    "each, made together.",
)

RECURSE = cell(
    """
halves = ["Count the class definitions whose name ends in Error or Exception.\\n" + files[name] for name in top[:2]]
checks = rlm_query_batched(halves)
for name, reply in zip(top, checks):
    print(name, "counted here:", counts[name], "- counted by the recursive call:", reply)
""",
    "As a check I let two recursive calls count again. Each gets a sandbox of its own with one file as its context.",
)

CONCLUDE = cell(
    """
best = top[0]
total = sum(counts.values())
agree = all(str(counts[name]) == str(reply).strip() for name, reply in zip(top, checks))
print("the recursive calls agree:", agree)
"""
    + answer('f"{total} lines; the most, {counts[best]}, are in {best}."'),
    "Everything is counted. I put the answer together from the variables.",
)

CHILD_LOOK = cell(
    """
task, _, source = context.partition("\\n")
print(task)
print(len(source), "characters")
""",
    "My context is one task line and one file.",
)

CHILD_COUNT = cell(
    """
import re

pattern = re.compile(r"^[ \\t]*class[ \\t]+\\w*(?:Error|Exception)\\b.*", re.MULTILINE)
lines = pattern.findall(source)
print(len(lines), "lines, for example:", lines[:3])
longest = max(lines, key=len, default="")
print("a second look at the longest:", rlm_query("Repeat this line and nothing else.\\n" + longest))
"""
    + answer("len(lines)"),
    "I count the matching lines, and hand the longest one down once more to have it read back.",
)

GRANDCHILD = cell(answer("context.splitlines()[-1].strip()"), "The line stands at the end of my context.")

ROOT_STEPS = (LOOK, SPLIT_WRONG, SPLIT_RIGHT, ASK_LEAVES, RECURSE, CONCLUDE)
CHILD_STEPS = (CHILD_LOOK, CHILD_COUNT)


def tour(options: Options) -> Script:
    rules = [_turn(0, step, reply) for step, reply in enumerate(ROOT_STEPS, 1)]
    rules += [_turn(1, step, reply) for step, reply in enumerate(CHILD_STEPS, 1)]
    rules.append(Rule(when=When(kind="turn", min_depth=2), reply=GRANDCHILD, latency_ms=200, stream_ms=300))
    rules.append(Rule(when=When(kind="leaf"), reply='(scripted) It says: "{quote}"', latency_ms=150, jitter_ms=450))
    return Script(
        rules=rules,
        default=Then(reply="(scripted)"),
        title="A guided tour",
        question=QUESTION,
        **fields(options),
    )


def _turn(depth: int, step: int, reply: str) -> Rule:
    return Rule(when=When(kind="turn", depth=depth, step=step), reply=reply, latency_ms=300, stream_ms=900)


SCRIPTS = {"tour": (Options, tour)}
