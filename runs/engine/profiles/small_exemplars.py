"""One worked example a kind of question, and the choice of the nearest one.

For a model of one or two billion parameters the example nearest to the question matters more than any instruction: it
copies the form and puts the question's own words in. Which kinds there are was found by trial on questions over logs,
tables, prose and source code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DONE = "\nprint(result)\n```\nFINAL_VAR(result)"
_PROSE = "70000 characters, 900 lines, looks like one item per line"
_LOG = "40311 characters, 900 lines, looks like log lines"
_LOG_LINE = "2025-01-03 status=timeout host=b7 ms=9"
_SOURCES = "412000 characters, 9800 lines, looks like 61 source files"
_FILES = f"{_SOURCES}; the dict `files` maps each file name to its text"
_FILE_LINE = "# === file: shop/cart.py ==="


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A question about another text, what its context looks like, and the replies that answer it (with output between)."""

    question: str
    shape: str
    first: str
    replies: tuple[str, ...]


def _code(body: str) -> tuple[str, ...]:
    return (f"```repl\n{body}{_DONE}",)


EXEMPLARS: dict[str, Exemplar] = {
    "find": Exemplar(
        "What is the door code of the annex?",
        _PROSE,
        "The lake froze early that year.",
        (
            '```repl\nfor m in re.finditer(r"[^.\\n]*door code of the annex[^.\\n]*", context, re.I):\n'
            "    print(m.group(0)[:200])\n```",
            "The door code of the annex is 5541\n\nQuestion: What is the door code of the annex?",
            "FINAL(5541)",
        ),
    ),
    "find-line": Exemplar(
        "What number is MAX_ITEMS set to?",
        _SOURCES,
        _FILE_LINE,
        (
            '```repl\nfor line in context.splitlines():\n    if "MAX_ITEMS" in line:\n'
            "        print(line.strip()[:200])\n```",
            "MAX_ITEMS = 50\nif len(items) > MAX_ITEMS:\n\nQuestion: What number is MAX_ITEMS set to?",
            "FINAL(50)",
        ),
    ),
    "find-base": Exemplar(
        "Which class does the class PriceList inherit from?",
        _SOURCES,
        _FILE_LINE,
        (
            '```repl\nfor line in context.splitlines():\n    if "class PriceList" in line:\n'
            "        print(line.strip()[:200])\n```",
            "class PriceList(Catalogue):\n\nQuestion: Which class does the class PriceList inherit from?",
            "FINAL(Catalogue)",
        ),
    ),
    "count": Exemplar(
        "How many timeouts were there?",
        _LOG,
        _LOG_LINE,
        _code('result = sum(1 for line in context.splitlines() if "timeout" in line)'),
    ),
    "starts": Exemplar(
        'How many lines start with "2025-01"?',
        _LOG,
        _LOG_LINE,
        _code('result = sum(1 for line in context.splitlines() if line.startswith("2025-01"))'),
    ),
    "occurrences": Exemplar(
        'How many times does "harbour" occur?',
        _PROSE,
        "The boats came in early.",
        _code('result = len(re.findall(r"harbour", context))'),
    ),
    "share": Exemplar(
        "What share of the requests timed out, in percent?",
        _LOG,
        _LOG_LINE,
        _code(
            "lines = [line for line in context.splitlines() if line.strip()]\n"
            'result = round(100 * sum(1 for line in lines if "timeout" in line) / len(lines), 2)'
        ),
    ),
    "group": Exemplar(
        "Which host had the most timeouts, and how many?",
        _LOG,
        _LOG_LINE,
        _code(
            'c = collections.Counter(m.group(1) for line in context.splitlines() if "timeout" in line '
            'for m in re.finditer(r"host=(\\S+)", line))\nresult = c.most_common(1)'
        ),
    ),
    "table": Exemplar(
        "What did parcels sent to Spain in May weigh in total?",
        "52000 characters, 1201 lines, looks like CSV; columns: id,sent,country,weight",
        "1,2025-05-02,Spain,2.5",
        _code(
            "rows = list(csv.DictReader(io.StringIO(context)))\n"
            'picked = [r for r in rows if r["country"] == "Spain" and r["sent"].startswith("2025-05")]\n'
            'result = sum(float(r["weight"]) for r in picked)'
        ),
    ),
    "distinct": Exemplar(
        "List all distinct phone numbers.",
        _PROSE,
        "Call 555-0134 today.",
        _code('result = sorted(set(re.findall(r"\\d{3}-\\d{4}", context)))'),
    ),
    "numbers": Exemplar(
        "What did all the repairs cost together?",
        _PROSE,
        "The boats came in early.",
        _code('values = [float(x) for x in re.findall(r"repair cost (\\d+)", context)]\nresult = sum(values)'),
    ),
    "judge": Exemplar(
        "How many reviews are negative?",
        "2100 characters, 14 lines, looks like one item per line",
        "Review 1: I love this soup.",
        _code(
            "items = [line for line in context.splitlines() if line.strip()]\n"
            'labels = llm_query_batched(["Is this review positive, negative or neutral? Answer with one word.\\n" + item'
            ' for item in items])\nresult = sum("negative" in label.lower() for label in labels)'
        ),
    ),
    "summary": Exemplar(
        "Summarise the speech.",
        "9000 characters, 1 lines, looks like prose",
        "The mayor spoke first. Then it rained.",
        _code(
            "step = max(1800, len(context) // 6)\n"
            "chunks = [context[i:i + 1800] for i in range(0, len(context), step)]\n"
            'notes = llm_query_batched(["Summarise this part of the speech in one sentence.\\n" + c for c in chunks])\n'
            'result = llm_query("Combine these notes into a short summary of the speech.\\n" + "\\n".join(notes)[:1800])'
        ),
    ),
    "files-defining": Exemplar(
        "Which files define a function named parse_row?",
        _FILES,
        _FILE_LINE,
        _code(
            "result = [name for name, text in files.items() "
            'if re.search(r"^[ \\t]*(?:async )?def parse_row\\b", text, re.M)]'
        ),
    ),
    "files-class": Exemplar(
        "Which files define a class named PriceList?",
        _FILES,
        _FILE_LINE,
        _code(
            'result = [name for name, text in files.items() if re.search(r"^[ \\t]*class PriceList\\b", text, re.M)]'
        ),
    ),
    "files-top": Exemplar(
        "Which files define a function named parse_row at the top level?",
        _FILES,
        _FILE_LINE,
        _code(
            'result = [name for name, text in files.items() if re.search(r"^(?:async )?def parse_row\\b", text, re.M)]'
        ),
    ),
    "files-importing": Exemplar(
        "How many files import the module decimal?",
        _FILES,
        _FILE_LINE,
        _code(
            'result = sum(1 for text in files.values() if re.search(r"^[ \\t]*(?:from|import) decimal\\b", text, re.M))'
        ),
    ),
    "files-parameter": Exemplar(
        "How many functions have a parameter named currency?",
        _FILES,
        _FILE_LINE,
        _code(
            "import ast\nresult = 0\nfor text in files.values():\n    for node in ast.walk(ast.parse(text)):\n"
            "        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):\n"
            '            result += any(a.arg == "currency" for a in ast.walk(node.args) if isinstance(a, ast.arg))'
        ),
    ),
    "files-lines": Exemplar(
        "How many lines do the files of the package shop have in total?",
        _FILES,
        _FILE_LINE,
        _code('result = sum(len(text.splitlines()) for name, text in files.items() if name.startswith("shop/"))'),
    ),
    "files-most-in": Exemplar(
        "Which file of the package shop defines the most functions?",
        _FILES,
        _FILE_LINE,
        _code(
            'names = [name for name in files if name.startswith("shop/")]\n'
            'result = max(names, key=lambda name: len(re.findall(r"^[ \\t]*(?:async )?def ", files[name], re.M)))'
        ),
    ),
    "files-most": Exemplar(
        "Which file defines the most functions?",
        _FILES,
        _FILE_LINE,
        _code('result = max(files, key=lambda name: len(re.findall(r"^[ \\t]*(?:async )?def ", files[name], re.M)))'),
    ),
    "files-longest-in": Exemplar(
        "Which file of the package shop has the most lines?",
        _FILES,
        _FILE_LINE,
        _code(
            'names = [name for name in files if name.startswith("shop/")]\n'
            "result = max(names, key=lambda name: len(files[name].splitlines()))"
        ),
    ),
    "files-longest": Exemplar(
        "Which file has the most lines?",
        _FILES,
        _FILE_LINE,
        _code("result = max(files, key=lambda name: len(files[name].splitlines()))"),
    ),
}

_SEMANTIC = r"\babout\b|positive|negative|complain|sentiment|topic|\bmood\b|\btone\b"
MOST_ITEMS_TO_JUDGE = 60
"""A call for each item takes seconds on a processor: beyond this a search has to do."""

# First pattern that fits, in order; the more telling words come first.
_ANY_CONTEXT: tuple[tuple[str, str], ...] = (
    (r"summar|\bgist\b|overview|tl;?dr", "summary"),
    (r"how many times|how often|occurrences|\boccurs?\b", "occurrences"),
    (r"lines? (?:start|begin)|(?:start|begin)s? with", "starts"),
    (r"per ?cent|\bshare\b|fraction|proportion|\bratio\b", "share"),
    (r"\b(?:most|least|top|frequent|fewest)\b", "group"),
    (r"how many|count the|number of", "count"),
    (r"\b(?:sum|total|average|mean|maximum|minimum|altogether|together)\b", "numbers"),
    (r"\b(?:list|distinct|unique|all the|every)\b", "distinct"),
)
_SOURCE_FILES: tuple[tuple[str, str], ...] = (
    (r"\binherits?\b|\bbase class\b|\bparent class\b|\bsubclass of\b", "find-base"),
    (r"\bparameters?\b|\barguments?\b", "files-parameter"),
    (r"\bimports?\b", "files-importing"),
    (r"files?\b.*\bpackage\b.*\b(?:most lines|longest|largest)", "files-longest-in"),
    (r"files?\b.*\bpackage\b.*\bmost\b", "files-most-in"),
    (r"files?\b.*\b(?:most lines|longest|largest)|\blongest file", "files-longest"),
    (r"files?\b.*\bmost\b|\bmost\b.*\bfiles?\b", "files-most"),
    (r"how many lines (?:do|does|are in|has|have)\b.*\b(?:package|files?|total)", "files-lines"),
    (r"which (?:files?|modules?)\b.*\btop level", "files-top"),
    (r"which (?:files?|modules?)\b.*\bclass\b", "files-class"),
    (r"which (?:files?|modules?)\b.*\b(?:functions?|methods?|defines?)\b", "files-defining"),
)


def exemplar_for(question: str, kind: str, lines: int) -> str:
    """The name of the exemplar for a question about a context that looks like `kind` and has so many lines."""
    asked = question.lower()
    if "source files" in kind:
        found = _first(_SOURCE_FILES, asked)
        if found:
            return found
    elif kind.startswith("CSV") and not re.search(r"summar", asked):
        return "table"
    found = _first(_ANY_CONTEXT, asked) or ("find-line" if "source files" in kind or kind == "log lines" else "find")
    if found == "count" and re.search(_SEMANTIC, asked) and lines <= MOST_ITEMS_TO_JUDGE:
        return "judge"
    return found


def _first(rules: tuple[tuple[str, str], ...], asked: str) -> str:
    return next((name for pattern, name in rules if re.search(pattern, asked)), "")
