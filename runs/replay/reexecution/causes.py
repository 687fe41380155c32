"""Why code may do something else the second time: what the code, and the kind of the difference, speak for."""

from __future__ import annotations

import re
from collections.abc import Collection

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
NAMES: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "time",
        frozenset({"time", "datetime", "date", "now", "today", "utcnow", "monotonic", "perf_counter", "strftime"}),
        "the code looks at the clock: freeze time to have it repeat",
    ),
    (
        "randomness",
        frozenset(
            {"random", "randint", "choice", "choices", "shuffle", "sample", "uuid4", "uuid1", "secrets", "urandom"}
        ),
        "the code draws at random: seed randomness to have it repeat",
    ),
    (
        "network",
        frozenset({"socket", "urllib", "requests", "httpx", "urlopen", "http"}),
        "the code asks the network, which sandboxes do not have",
    ),
    (
        "threads",
        frozenset({"threading", "Thread", "ThreadPoolExecutor", "concurrent", "asyncio", "multiprocessing"}),
        "the code runs in several threads, whose order is not fixed",
    ),
    (
        "order or identity",
        frozenset({"set", "frozenset", "id", "hash", "listdir", "scandir", "glob"}),
        "the code depends on the order of a set or folder, or on addresses",
    ),
)


def modulo_addresses(text: str) -> str:
    """`text` with memory addresses made equal: they are new in every process, and mean nothing."""
    return ADDRESS.sub("0x…", text)


def likely_cause(code: str, what: str, *, recorded_python: str, here: str, dropped: Collection[str]) -> str:
    """One sentence; what is most likely first: a state that lacked something explains the rest."""
    names = set(re.findall(r"[A-Za-z_][A-Za-z_0-9]*", code))
    lacking = sorted(names.intersection(dropped))
    if lacking:
        return f"missing variable: the snapshot that this began from does not hold {', '.join(lacking[:5])}"
    if what == "sub-calls":
        return "sub-call not recorded: the code asked something that it did not ask the first time"
    for name, signs, sentence in NAMES:
        if names & signs:
            return f"{name}: {sentence}"
    if recorded_python and recorded_python != here:
        return f"interpreter: it was recorded under Python {recorded_python}, this is {here}"
    return "changed: the code, its state or its record is not what it was when it ran"
