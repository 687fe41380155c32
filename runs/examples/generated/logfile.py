"""Questions about the service log, and the catalogue's entry."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from runs.examples.answers import NameAnswer, NamesAnswer, NumberAnswer
from runs.examples.generated.servicelog import ENDPOINTS, HOSTS, TIMEOUT_STATUS, USERS, ServiceLog
from runs.examples.generated.writing import Question, leader, write_records
from runs.examples.types import Example, Order, Task

_SIZE_BYTES = 5_000_000


def error_share(log: ServiceLog, rng: random.Random) -> Question | None:
    question = "What share of the lines has the level ERROR, in percent? Answer with two decimals."
    return question, NumberAnswer(f"{100 * log.errors / log.entries:.2f}", tolerance="0.011")


def most_timeouts(log: ServiceLog, rng: random.Random) -> Question | None:
    question = "Which host had the most lines with an upstream timeout? Answer with the host name only."
    return _ranked(question, leader(log.host_timeouts), HOSTS)


def unlucky_user(log: ServiceLog, rng: random.Random) -> Question | None:
    question = "Which user has the most lines with the level ERROR? Answer with the user's name only."
    return _ranked(question, leader(log.user_errors), USERS)


def worst_day(log: ServiceLog, rng: random.Random) -> Question | None:
    question = "Which day has the most lines with the level ERROR? Answer with the date only, as in the log."
    return _ranked(question, leader(log.day_errors), tuple(log.day_errors))


def slowest_endpoint(log: ServiceLog, rng: random.Random) -> Question | None:
    if len(log.endpoint_requests) < 2:
        return None
    means = {endpoint: log.endpoint_ms[endpoint] / n for endpoint, n in log.endpoint_requests.items()}
    first, second = sorted(means, key=means.__getitem__, reverse=True)[:2]
    question = (
        "Which endpoint (for example /v1/health) has the highest mean latency (ms) over all its requests? "
        "Answer with the path only."
    )
    return _ranked(question, first if means[first] > means[second] else None, ENDPOINTS)


def status_count(log: ServiceLog, rng: random.Random) -> Question | None:
    status = rng.choice([200, 404, 429, 500, 503, TIMEOUT_STATUS])
    question = f"How many lines have status={status}? Answer with one number."
    return question, NumberAnswer(str(log.statuses[status]), mentioned=(str(status),))


def restarted_hosts(log: ServiceLog, rng: random.Random) -> Question | None:
    if not log.restarted:
        return None
    question = "List all hosts on which the process was restarted by the watchdog."
    return question, NamesAnswer(tuple(sorted(log.restarted)), tuple(h for h in HOSTS if h not in log.restarted))


_ASKS: dict[str, Callable[[ServiceLog, random.Random], Question | None]] = {
    "most-timeouts": most_timeouts,
    "error-share": error_share,
    "status-count": status_count,
    "slowest-endpoint": slowest_endpoint,
    "unlucky-user": unlucky_user,
    "worst-day": worst_day,
    "restarted-hosts": restarted_hosts,
}


def build(order: Order) -> Task:
    size_bytes = order.size_bytes or _SIZE_BYTES
    make = partial(ServiceLog, size_bytes=size_bytes)
    (question, expected), log = write_records(order, size_bytes, make, _ASKS[order.question_kind])
    return Task(question, expected, f"A made-up log of a web service with {log.entries:,} lines.")


EXAMPLE = Example(
    slug="logfile",
    title="A long service log",
    summary="A made-up log of a web service. Questions count, rank and average over all of its lines.",
    question="Which host had the most lines with an upstream timeout?",
    question_kinds=tuple(_ASKS),
    builder=build,
    size_bytes_hint=_SIZE_BYTES,
    min_size_bytes=10_000,
    small_model_kinds=("most-timeouts", "error-share", "status-count", "unlucky-user"),
)


def _ranked(question: str, first: str | None, candidates: tuple[str, ...]) -> Question | None:
    if first is None:
        return None
    return question, NameAnswer(first, tuple(name for name in candidates if name != first))
