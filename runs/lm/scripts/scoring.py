"""`score_chunks`: the example `scores`, worked off in code: on a GPU where the sandbox has one, else visibly without."""

from __future__ import annotations

from runs.lm.script import Rule, Script, Then, When
from runs.lm.scripts.parts import Options, answer, cell, fields

LOOK = cell(
    """
import json

header, _, body = context.partition("\\n")
model = json.loads(header)
rows = [line.split("\\t") for line in body.splitlines() if line]
print(len(rows), "chunks;", len(model["first"]), "features,", len(model["second"]), "hidden units")
""",
    "The first line is the network, every other line a chunk. I read both before I score anything.",
)

SCORE = cell(
    """
names = [name for name, _ in rows]
features = [[int(number) for number in numbers.split()] for _, numbers in rows]

def in_python():
    columns = list(zip(*model["first"]))
    def score(row):
        hidden = (max(0, sum(a * b for a, b in zip(row, column))) for column in columns)
        return sum(a * b for a, b in zip(hidden, model["second"]))
    return [score(row) for row in features]

try:
    import torch
except ImportError:
    torch = None

if torch is not None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, first, second = (torch.tensor(each, dtype=torch.float32, device=device)
                        for each in (features, model["first"], model["second"]))
    scores = (torch.relu(x @ first) @ second).cpu().tolist()
    used = torch.cuda.get_device_name(0) if device == "cuda" else "the CPU (torch finds no GPU here)"
else:
    scores = in_python()
    used = "the CPU, in plain Python (there is no torch in this sandbox)"
print("scored on", used)
""",
    "torch on the GPU when there is one. Without torch or without a GPU the same numbers come from the CPU, and I say so.",
)

CONCLUDE = cell(
    """
best = max(range(len(names)), key=scores.__getitem__)
print(names[best], "scores", int(scores[best]))
"""
    + answer("names[best]"),
    "The scores are there. The highest one is the answer.",
)


def score_chunks(options: Options) -> Script:
    steps = (LOOK, SCORE, CONCLUDE)
    rules = [
        Rule(when=When(kind="turn", depth=0, step=number), reply=reply, latency_ms=200, stream_ms=500)
        for number, reply in enumerate(steps, 1)
    ]
    return Script(rules=rules, default=Then(reply="(scripted)"), title="Score chunks", **fields(options))


SCRIPTS = {"score_chunks": (Options, score_chunks)}
