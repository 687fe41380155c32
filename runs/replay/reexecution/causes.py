"""Why code may do something else the second time: what the code, and the kind of the difference, speak for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from runs.replay.reexecution.report import Finding

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_THREAD = re.compile(r"\b(started|stopped)( daemon)? \d{5,}(?=\)>)")
"""In what a thread shows, its number: the address of its stack."""
NOT_HELD = "this variable is not in the snapshot: "
"""How the runner begins what it says of a variable that a snapshot could not hold."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_NETWORK_ERRORS = re.compile(
    r"URLError|gaierror|ConnectionError|ConnectionRefused|Network is unreachable|name resolution"
)


@dataclass(frozen=True, slots=True)
class Sign:
    """Names in code that speak for a cause."""

    cause: str
    names: frozenset[str]
    sentence: str


def _sign(cause: str, names: str, sentence: str) -> Sign:
    return Sign(cause, frozenset(names.split()), sentence)


TIME = _sign(
    "time",
    "time datetime date now today utcnow monotonic perf_counter strftime localtime ctime timeit",
    "the code looks at the clock; freeze time to have it repeat",
)
RANDOMNESS = _sign(
    "randomness",
    "random randint choice choices shuffle sample uniform uuid1 uuid4 secrets urandom default_rng",
    "the code draws at random; seed randomness to have it repeat",
)
NETWORK = _sign(
    "network", "socket urllib requests httpx urlopen http", "the code asks the network, which sandboxes do not have"
)
THREADS = _sign(
    "threads",
    "threading Thread ThreadPoolExecutor ProcessPoolExecutor concurrent asyncio multiprocessing",
    "the code runs in several threads, whose order is not fixed",
)
IDENTITY = _sign(
    "order or identity",
    "id hash set frozenset listdir scandir glob iterdir",
    "the code depends on the order of a set or folder, or on addresses",
)
SIGNS = (TIME, RANDOMNESS, NETWORK, THREADS, IDENTITY)


def modulo_addresses(text: str) -> str:
    """`text` with memory addresses made equal: they are new in every process, and mean nothing."""
    return _THREAD.sub(r"\1\2 …", ADDRESS.sub("0x…", text))


def names_in(code: str) -> set[str]:
    return set(_NAME.findall(code))


def said(sign: Sign) -> str:
    return f"{sign.cause}: {sign.sentence}"


def plain_cause(code: str, findings: list[Finding], dropped: Collection[str]) -> str:
    """What the difference itself shows, without trying anything out; empty when it shows nothing."""
    for finding in findings:
        if finding.what == "error" and NOT_HELD in finding.now:
            return f"missing variable: {finding.now.partition(NOT_HELD)[2][:300]}"
        if finding.what == "error" and _NETWORK_ERRORS.search(f"{finding.recorded} {finding.now}"):
            return said(NETWORK)
    lacking = sorted(names_in(code).intersection(dropped))
    if lacking:
        return f"missing variable: the snapshot that this began from does not hold {', '.join(lacking[:5])}"
    return ""


def not_asked_before(findings: list[Finding]) -> str:
    """Empty unless the code asked something besides what is on record."""
    if any(finding.what == "sub-calls" and not finding.recorded for finding in findings):
        return "sub-call not recorded: the code asked something that it did not ask the first time"
    return ""


def guess(code: str, *, recorded_python: str, here: str) -> str:
    """What is likely by the code alone."""
    names = names_in(code)
    for sign in SIGNS:
        if names & sign.names:
            return said(sign)
    if recorded_python and here and recorded_python != here:
        return f"interpreter: it was recorded under Python {recorded_python}, this is {here}"
    return "changed: the code, its state or its record is not what it was when it ran"
