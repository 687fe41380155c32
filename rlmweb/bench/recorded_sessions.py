"""Small generated sessions whose code is deterministic, to be executed again: what they are made of follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

CONTEXT = "alpha beta gamma delta alpha epsilon\nzeta 12 eta 7 theta 99 alpha\n" * 40
OPENING = "words = context.split()\nv1 = len(words)\nprint(v1, words[:3])"
CELLS: dict[str, str] = {
    "counts": "v{n} = {{}}\nfor word in words[:{a}]: v{n}[word] = v{n}.get(word, 0) + 1\nprint(sorted(v{n}.items()))",
    "unique": "v{n} = set(words)\nprint(len(v{n}), v{n})",
    "table": "v{n} = [[i * j for j in range({b})] for i in range({c})]\nprint(v{n}[-1])",
    "function": "def f{n}(value, _add={a}): return value * 2 + _add\nv{n} = f{n}(v1)\nprint(v{n})",
    "closure": "def make{n}(count):\n    return lambda more: count + more + {a}\nv{n} = make{n}(v1)\nprint(v{n}(1))",
    "class": "class Item{n}:\n    def __init__(self, size): self.size = size\n"
    "v{n} = [Item{n}(size) for size in range({b})]\nprint(sum(item.size for item in v{n}), Item{n}(1))",
    "alias": "v{n} = {{'a': [1, {{'b': {a}}}]}}\nalias{n} = v{n}['a']\nalias{n}.append('x')\nprint(v{n})",
    "cycle": "v{n} = [{a}]\nv{n}.append(v{n})\nprint(len(v{n}))",
    "regular": "import re\nv{n} = re.findall(r'[0-9]+', context)[:{b}]\nprint(v{n})",
    "json": "import json\nv{n} = json.dumps({{'n': {a}, 'words': words[:{b}]}}, sort_keys=True)\nprint(v{n})",
    "decimal": "from decimal import Decimal\nv{n} = Decimal({a}) / Decimal({b})\nprint(v{n})",
    "bytes": "v{n} = bytearray(context.encode()[:{a}])\nv{n}[0] = {b}\nprint(hash(bytes(v{n})), hash(words[1]))",
    "counter": "from collections import Counter, deque\nv{n} = (Counter(words), deque(words, {b}))\nprint(v{n}[0]['alpha'])",
    "seeded": "import random\nrandom.seed({a})\nv{n} = [random.random() for _ in range({b})]\nprint(v{n}[0])",
    "file": "import os\nos.makedirs('d{n}', exist_ok=True)\nwith open('d{n}/words.txt', 'w') as f:\n"
    "    f.write(' '.join(words[:{a}]))\nv{n} = os.path.getsize('d{n}/words.txt')\nprint(v{n})",
    "caught": "try:\n    words[{a} * 10000]\nexcept IndexError as error:\n    v{n} = str(error)\nprint('caught', v{n})",
    "raised": "v{n} = {a}\nprint('before')\nraise ValueError(f'no word {{v{n}}}')",
    "stderr": "import sys\nv{n} = {a}\nprint('to stderr', v{n}, file=sys.stderr)\nprint('to stdout')",
    "address": "v{n} = {a}\nprint(object() is not None, object())",
    "generator": "v{n} = (word for word in words)\nprint(next(v{n}))",
    "question": "v{n} = llm_query('what of ' + words[{a} % len(words)] + ' {b}')\nprint(v{n})",
    "batch": "v{n} = llm_query_batched([f'part {{i}} of {a}' for i in range({b})])\nprint(v{n})",
    "threads": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(3) as pool:\n"
    "    v{n} = list(pool.map(llm_query, [f'thread {{i}} of {a}' for i in range({b})]))\nprint(v{n})",
    "child": "v{n} = rlm_query('count {a}: ' + ' '.join(words[:{b}]))\nprint(v{n})",
}
ANSWER = "answer['content'] = f'{v1} words'\nanswer['ready'] = True"
CHILD = [
    "parts = context.split()\nasked = llm_query('a child asks ' + parts[1])\nprint(len(parts), asked)",
    "answer['content'] = str(len(parts))\nanswer['ready'] = True",
]
REPLIES = [f"{word} {number}" for word in ("amber", "basalt", "cedar") for number in range(10)]


@dataclass
class Sketch:
    """The cells of the root, one a step, the answer last. `kinds` names what each was made from."""

    cells: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def step_of(self, kind: str) -> int:
        return self.kinds.index(kind) + 1

    def script(self) -> dict[str, Any]:
        """The scripted model that writes these cells, and replies that depend on what is asked."""
        rules = []
        for depth, cells in ((0, self.cells), (1, CHILD)):
            for step, cell in enumerate(cells, start=1):
                rules.append({"when": {"kind": "turn", "depth": depth, "step": step}, "reply": f"```repl\n{cell}\n```"})
        return {"rules": rules, "default": {"reply": REPLIES}}


def sketch(seed: int, needed: str = "") -> Sketch:
    """Two to five steps and the answer. A cell of the kind `needed` is among them."""
    draw = random.Random(seed)
    kinds = draw.sample(sorted(set(CELLS) - {needed}), draw.randrange(1, 5))
    if needed not in ("", "opening", "answer"):
        kinds[draw.randrange(len(kinds))] = needed
    made = Sketch([OPENING], ["opening"])
    for number, kind in enumerate(kinds, start=2):
        made.cells.append(
            CELLS[kind].format(n=number, a=draw.randrange(10, 90), b=draw.randrange(2, 9), c=draw.randrange(2, 9))
        )
        made.kinds.append(kind)
    made.cells.append(ANSWER)
    made.kinds.append("answer")
    return made
