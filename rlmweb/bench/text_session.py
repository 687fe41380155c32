"""The workload of the snapshot benchmark: 32 cells as an RLM writes them, over a text of a chosen size.

They split the text, search it with regular expressions, count, keep answers of sub-calls, make objects of a class of
their own, a data frame, a generator and a lambda, change a few things deep inside, make and delete a large copy.
"""

from __future__ import annotations

import random
from pathlib import Path

WORDS = [f"w{n:04d}" for n in range(6000)] + [
    *("the", "of", "and", "revenue", "invoice", "contract", "party", "shall"),
    *("delivery", "quarter", "increase", "report", "user", "error", "timeout"),
]


def make_context(path: Path, megabytes: int) -> None:
    """Documents of a header and twelve lines each, the same for the same size."""
    draw = random.Random(7)
    written = number = 0
    with path.open("w") as file:
        while written < megabytes * 1_000_000:
            number += 1
            day = f"20{draw.randrange(10, 26)}-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d}"
            amount = draw.randrange(10**6) / 100
            lines = "\n".join(" ".join(draw.choices(WORDS, k=18)) for _ in range(12))
            text = (
                f"### DOC {number} | date: {day} | author: user{draw.randrange(500)} | amount: {amount:.2f}\n{lines}\n"
            )
            file.write(text)
            written += len(text)


CELLS = (
    "print(len(context))",
    "import re, json, math, collections, itertools\nprint(context[:500])",
    "lines = context.split('\\n')\nprint(len(lines))",
    "chunks = [context[i:i+200_000] for i in range(0, len(context), 200_000)]\nprint(len(chunks), len(chunks[0]))",
    "hdr = re.compile(r'### DOC (\\d+) \\| date: ([\\d-]+) \\| author: (\\w+) \\| amount: ([\\d.]+)')\n"
    "headers = hdr.findall(context)\nprint(len(headers), headers[:2])",
    "docs = {int(h[0]): {'date': h[1], 'author': h[2], 'amount': float(h[3])} for h in headers}\nprint(len(docs))",
    "wc = collections.Counter()\nfor ch in chunks[:20]: wc.update(ch.split())\nprint(wc.most_common(5))",
    "hits = [l for l in lines if 'timeout' in l and 'invoice' in l]\nprint(len(hits), hits[:1])",
    "def ask(prompt):\n    import hashlib\n"
    "    return 'ANSWER ' + hashlib.sha1(prompt[:2000].encode()).hexdigest() * 20\nanswers = {}\nprint('ready')",
    "for i, ch in enumerate(chunks[:10]):\n    answers[i] = ask('Summarise: ' + ch)\nprint(len(answers))",
    "for i, ch in enumerate(chunks[10:20]):\n    answers[10+i] = ask('Summarise: ' + ch)\nprint(len(answers))",
    "buf = []\nfor i in range(20):\n    buf.append((i, answers.get(i, '')[:80]))\nprint(buf[:3])",
    "first = next(hdr.finditer(context))\nprint(first.group(0))",
    "by_author = collections.defaultdict(list)\nfor k, d in docs.items(): by_author[d['author']].append(k)\n"
    "print(len(by_author))",
    "class Evidence:\n    def __init__(self, doc, score): self.doc, self.score = doc, score\n"
    "    def __repr__(self): return f'E({self.doc},{self.score})'\n"
    "ev = [Evidence(k, math.log1p(d['amount'])) for k, d in list(docs.items())[:2000]]\nprint(ev[:2])",
    "ev.sort(key=lambda e: -e.score)\ntop = ev[:10]\nprint(top)",
    "import pandas as pd\ndf = pd.DataFrame([{'doc': k, **d} for k, d in docs.items()])\nprint(df.shape)",
    "df['year'] = df.date.str[:4].astype(int)\nagg = df.groupby('year').amount.agg(['sum', 'mean', 'count'])\n"
    "print(agg.head(3))",
    "gen = (c for c in chunks)\nnext(gen)\nprint('gen')",
    "x = next(gen)[:100]\nprint(x)",
    "score = lambda s: sum(s.count(w) for w in ('timeout', 'error', 'invoice'))\nscores = [score(c) for c in chunks]\n"
    "print(max(scores))",
    "best = max(range(len(chunks)), key=lambda i: scores[i])\nfocus = chunks[best]\nprint(best, len(focus))",
    "sub_answers = [ask(focus[i:i+20000]) for i in range(0, len(focus), 20000)]\nprint(len(sub_answers))",
    "notes = '\\n'.join(sub_answers)\nprint(len(notes))",
    "docs[1]['flag'] = True\nprint(docs[1])",
    "df.loc[df.doc == 1, 'amount'] = 0.0\nprint(df.amount.sum())",
    "i = 0\nwhile i < 100: i += 1\nprint(i)",
    "low = context.lower()\nprint(low.count('revenue'))",
    "del low\nprint('freed')",
    "final_parts = [a[:40] for a in answers.values()] + [notes[:200]]\nprint(len(final_parts))",
    "final_answer = ' '.join(final_parts)\nprint(len(final_answer))",
    "chosen = 'final_answer'\nprint(chosen)",
)
