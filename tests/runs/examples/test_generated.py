"""The answers of generated contexts, computed once more from the file itself."""

from __future__ import annotations

import csv
import json
import re
import tracemalloc
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import numpy
import pytest

from runs.examples import Built, example
from runs.examples.generated.questionbank import KINDS, question_bank

SEEDS = range(3)
REQUEST = re.compile(r"(?P<day>\S{10})T\S+ (?P<level>\w+) +host=(?P<host>\S+) user=(?P<user>\S+) \w+ (?P<path>\S+) "
                     r"status=(?P<status>\d+) ms=(?P<ms>\d+)")  # fmt: skip
RECORD = re.compile(r"Date: (?P<date>.+?) \|\| User: (?P<user>\d+) \|\| Instance: (?P<text>.+)")


def build(slug: str, kind: str, seed: int, tmp_path: Path, size_bytes: int = 60_000) -> Built:
    return example(slug).build(tmp_path / "context", seed=seed, size_bytes=size_bytes, question_kind=kind)


def top(counts: Counter[str]) -> str:
    return counts.most_common(1)[0][0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", example("logfile").question_kinds)
def test_log_answers_follow_from_the_log(kind: str, seed: int, tmp_path: Path) -> None:
    built = build("logfile", kind, seed, tmp_path)
    lines = built.path.read_text().splitlines()
    requests = [m for line in lines if (m := REQUEST.match(line))]
    errors = [m for m in requests if m["level"] == "ERROR"]
    latencies: dict[str, list[int]] = defaultdict(list)
    for request in requests:
        latencies[request["path"]].append(int(request["ms"]))
    asked = re.search(r"status=(\d+)", built.question)

    computed = {
        "error-share": lambda: f"{100 * sum(' ERROR ' in line for line in lines) / len(lines):.2f}",
        "most-timeouts": lambda: top(Counter(m["host"] for m in requests if m["status"] == "504")),
        "status-count": lambda: str(sum(m["status"] == asked[1] for m in requests)) if asked else "",
        "slowest-endpoint": lambda: max(latencies, key=lambda path: sum(latencies[path]) / len(latencies[path])),
        "unlucky-user": lambda: top(Counter(m["user"] for m in errors)),
        "worst-day": lambda: top(Counter(m["day"] for m in errors)),
        "restarted-hosts": lambda: ", ".join(
            sorted({line.split("host=")[1].split()[0] for line in lines if "restarted" in line})
        ),
    }
    assert built.answer == computed[kind]()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", example("csv").question_kinds)
def test_table_answers_follow_from_the_table(kind: str, seed: int, tmp_path: Path) -> None:
    built = build("csv", kind, seed, tmp_path)
    rows = list(csv.DictReader(built.path.read_text().splitlines()))
    words = set(re.findall(r"[\w-]+", built.question))
    picked = [row for row in rows if {row["country"], row["channel"], row["product"], row["date"][:7]} & words]
    both = [row for row in rows if {row["country"], row["date"][:7]} <= words]
    units: Counter[str] = Counter()
    for row in picked:
        units[row["product"]] += int(row["units"])

    computed = {
        "revenue": lambda: str(sum(int(row["units"]) * Decimal(row["unit_price"]) for row in both)),
        "channel-orders": lambda: str(len(picked)),
        "best-product": lambda: top(units),
        "mean-units": lambda: f"{sum(int(row['units']) for row in picked) / len(picked):.2f}",
        "largest-order": lambda: str(max(int(row["units"]) for row in rows)),
    }
    assert built.answer == computed[kind]()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", example("oolong").question_kinds)
def test_judged_records_give_the_answer(kind: str, seed: int, tmp_path: Path) -> None:
    built = build("oolong", kind, seed, tmp_path)
    kind_of = {text: name for name, texts in question_bank().items() for text in texts}
    records = [m for line in built.path.read_text().splitlines() if (m := RECORD.match(line))]
    counts = Counter(kind_of[m["text"]] for m in records)
    said = [name for name in re.findall(r'"(\w+)"', built.question) if name in KINDS]
    user = re.search(r"user (\d+)", built.question)
    month = re.search(r"of (\w{3})\w* (\d{4}),", built.question)

    def difference() -> str:
        gap = counts[said[0]] - counts[said[1]]
        return "more common" if gap > 0 else "less common" if gap < 0 else "equally common"

    def of_month() -> str:
        assert month is not None
        dated = [m for m in records if m["date"].startswith(month[1]) and m["date"].endswith(month[2])]
        return top(Counter(kind_of[m["text"]] for m in dated))

    computed = {
        "most-frequent": lambda: top(counts),
        "least-frequent": lambda: min(KINDS, key=lambda name: counts[name]),
        "compared": difference,
        "kind-count": lambda: str(counts[said[0]]),
        "user-count": lambda: str(
            sum(m["user"] == user[1] and kind_of[m["text"]] == said[0] for m in records) if user else -1
        ),
        "user-most": lambda: top(Counter(m["user"] for m in records if kind_of[m["text"]] == said[0])),
        "month-most": of_month,
    }
    assert built.answer == computed[kind]()


def test_the_question_bank_has_each_question_in_one_kind_only() -> None:
    texts = [text for texts in question_bank().values() for text in texts]

    assert set(question_bank()) == set(KINDS)
    assert len(texts) == len(set(texts))
    assert all(len(texts) >= 30 for texts in question_bank().values())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_needle_is_stated_once_in_a_haystack_of_the_exact_size(seed: int, tmp_path: Path) -> None:
    built = build("s-niah", "needle", seed, tmp_path, size_bytes=25_000)
    text = built.path.read_text()
    place = built.question.removeprefix("What is the access code of the ").rstrip("?")

    assert len(text) == 25_000
    assert text.count(f"The access code of the {place} is {built.answer}.") == 1
    assert re.findall(r"\d+", text) == [built.answer]


def test_a_needle_among_others_has_its_own_code(tmp_path: Path) -> None:
    built = build("s-niah", "needle-among-others", 1, tmp_path, size_bytes=10_000)
    place = built.question.removeprefix("What is the access code of the ").rstrip("?")
    stated = dict(re.findall(r"The access code of the (\w+ \w+) is (\d+)\.", built.path.read_text()))

    assert len(stated) == 25
    assert stated[place] == built.answer


def test_a_reworded_needle_shares_no_wording_with_its_question(tmp_path: Path) -> None:
    built = build("s-niah", "needle-reworded", 2, tmp_path)

    assert "access code" not in built.path.read_text()
    assert built.answer in built.path.read_text()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_highest_score_follows_from_the_network_and_the_chunks(seed: int, tmp_path: Path) -> None:
    built = build("scores", "highest", seed, tmp_path)
    header, *lines = built.path.read_text().splitlines()
    model = json.loads(header)
    names, rows = zip(*(line.split("\t") for line in lines), strict=True)
    features = numpy.array([[int(number) for number in row.split()] for row in rows], dtype=numpy.float32)
    first, second = (numpy.array(model[name], dtype=numpy.float32) for name in ("first", "second"))
    scores = numpy.maximum(features @ first, 0) @ second
    assert names[int(scores.argmax())] == built.answer
    assert (scores == scores.max()).sum() == 1
    assert abs(scores).max() < 2**24, "every score is a whole number that a 32-bit float holds"


@pytest.mark.parametrize("slug", ["logfile", "s-niah", "oolong", "csv", "scores"])
def test_a_large_context_is_written_without_holding_it(slug: str, tmp_path: Path) -> None:
    """Held in memory, 3 MB of records would be more than 3 MB of Python objects."""
    tracemalloc.start()
    try:
        built = example(slug).build(tmp_path / "context", seed=1, size_bytes=3_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert built.size_bytes >= 3_000_000
    assert peak_bytes < 1_500_000
