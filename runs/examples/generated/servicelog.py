"""A long log of a web service: levels, hosts, users, endpoints, latency and status, one entry a line."""

from __future__ import annotations

import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate

HOSTS = tuple(f"web-{n:02}" for n in range(1, 17))
ENDPOINTS = (
    "/v1/accounts", "/v1/basket", "/v1/catalogue", "/v1/checkout", "/v1/export", "/v1/health", "/v1/invoices",
    "/v1/login", "/v1/orders", "/v1/orders/history", "/v1/profile", "/v1/search", "/v1/shipping", "/v1/upload",
)  # fmt: skip
USERS = tuple(f"u{n}" for n in range(1001, 1201))
_METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
_STATUSES = (200, 201, 204, 304, 400, 401, 404, 429, 500, 502, 503, 504)
_STATUS_WEIGHTS = (700, 40, 30, 60, 25, 20, 50, 12, 12, 7, 14, 40)
_BAD_DAY_WEIGHTS = (700, 40, 30, 60, 25, 20, 50, 12, 30, 17, 35, 100)
_NOTES = (
    "cache refreshed in {} ms", "connection pool at {} percent", "configuration reloaded, {} keys",
    "background job finished after {} ms", "{} sessions expired", "certificate valid for {} more days",
)  # fmt: skip
_START = datetime(2026, 3, 2, tzinfo=UTC)
_DAYS = 5
_LINE_BYTES = 108
TIMEOUT_STATUS = 504
TIMEOUT_MS = 30_000


def _uneven(rng: random.Random, names: tuple[str, ...]) -> list[str]:
    """Names to choose from such that one leads clearly, also in a short log, and two follow."""
    first, second, third = rng.sample(names, 3)
    return [first] * 6 + [second, second, third]


class ServiceLog:
    """Entries, and what happened in them. One host is flaky, one user unlucky, one day bad: which, is seeded."""

    def __init__(self, seed: str, size_bytes: int) -> None:
        self._rng = random.Random(f"service log {seed}")
        self._gap_ms = _DAYS * 86_400_000 / max(1, size_bytes // _LINE_BYTES)
        self.entries = 0
        self.errors = 0
        self.statuses: Counter[int] = Counter()
        self.host_timeouts: Counter[str] = Counter()
        self.user_errors: Counter[str] = Counter()
        self.day_errors: Counter[str] = Counter()
        self.endpoint_ms: Counter[str] = Counter()
        self.endpoint_requests: Counter[str] = Counter()
        self.restarted: set[str] = set()

    def lines(self) -> Iterator[str]:
        rng = self._rng
        slowness = {endpoint: rng.uniform(20, 260) for endpoint in ENDPOINTS}
        flaky = _uneven(rng, HOSTS)
        unlucky = _uneven(rng, USERS)
        restarting = rng.sample(HOSTS, rng.randrange(3, 8))
        bad_day = (_START + timedelta(days=rng.randrange(_DAYS))).isoformat()[:10]
        usual, bad = list(accumulate(_STATUS_WEIGHTS)), list(accumulate(_BAD_DAY_WEIGHTS))
        elapsed_ms = 0.0
        while True:
            elapsed_ms += rng.expovariate(1) * self._gap_ms
            when = (_START + timedelta(milliseconds=elapsed_ms)).isoformat(timespec="milliseconds")[:-6]
            kind = rng.random()
            if not self.entries or kind > 0.998:
                # The first entry is a restart, so that a short log has one as well.
                host = rng.choice(restarting)
                self.restarted.add(host)
                yield self._entry(when, "WARN", host, 'msg="process restarted by the watchdog"')
            elif kind < 0.94:
                bounds = bad if when.startswith(bad_day) else usual
                status = _STATUSES[bisect(bounds, rng.random() * bounds[-1])]
                failed = status >= 500
                host = rng.choice(flaky) if failed and rng.random() < 0.6 else rng.choice(HOSTS)
                user = rng.choice(unlucky) if failed and rng.random() < 0.5 else rng.choice(USERS)
                yield self._request(when, host, user, rng.choice(ENDPOINTS), status, slowness)
            else:
                note = rng.choice(_NOTES).format(rng.randrange(1, 99))
                yield self._entry(when, rng.choice(("INFO", "INFO", "WARN")), rng.choice(HOSTS), f'msg="{note}"')

    def _request(self, when: str, host: str, user: str, endpoint: str, status: int, slowness: dict[str, float]) -> str:
        rng = self._rng
        timed_out = status == TIMEOUT_STATUS
        latency_ms = TIMEOUT_MS if timed_out else 2 + int(rng.expovariate(1) * slowness[endpoint])
        self.statuses[status] += 1
        self.endpoint_ms[endpoint] += latency_ms
        self.endpoint_requests[endpoint] += 1
        failed = status >= 500
        if timed_out:
            self.host_timeouts[host] += 1
        if failed:
            self.user_errors[user] += 1
            self.day_errors[when[:10]] += 1
        level = "ERROR" if failed else "WARN" if status >= 400 else "INFO"
        text = f"user={user} {rng.choice(_METHODS)} {endpoint} status={status} ms={latency_ms}"
        return self._entry(when, level, host, text + (' msg="upstream timeout"' if timed_out else ""))

    def _entry(self, when: str, level: str, host: str, text: str) -> str:
        self.entries += 1
        self.errors += level == "ERROR"
        return f"{when}Z {level:<5} host={host} {text}\n"
