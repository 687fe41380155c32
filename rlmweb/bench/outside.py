"""The installation as its users see it: sessions through the HTTP API, and the record through SQL of our own.

Bars and acceptance tests are checked from here and never by the product's own counters or code.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

FINAL = frozenset({"finished", "limited", "stopped", "failed"})
POLL_S = 0.05


class TimedOut(AssertionError):
    """What was waited for did not happen; the message holds what was seen last."""


def wait_until(what: str, condition: Callable[[], Any], timeout_s: float) -> Any:
    """The first truthy value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)
    return value


@dataclass(frozen=True)
class Outside:
    """A client of one installation."""

    address: str
    token: str
    database_url: str

    def call(self, method: str, path: str, body: object = None, *, timeout_s: float = 60) -> Any:
        """One API call; the decoded answer. Raises `urllib.error.HTTPError` on 4xx and 5xx."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/v1{path}", data=data, method=method)  # noqa: S310
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
                text = response.read()
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode("utf-8", "replace")[:2000])
            raise
        return json.loads(text) if text else None

    def patiently(self, method: str, path: str, body: object = None, *, timeout_s: float = 60) -> Any:
        """`call`, tried again while the web process is away. Only for calls that may be repeated."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.call(method, path, body)
            except (urllib.error.HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database_url, autocommit=True)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(sql.encode(), values or None).fetchall()

    def statuses(self, uuids: Iterable[str]) -> dict[str, str]:
        found = self.rows("SELECT uuid::text, status FROM runs_session WHERE uuid::text = ANY(%s)", list(uuids))
        return {str(uuid): str(status) for uuid, status in found}

    def wait_for(self, uuids: Iterable[str], timeout_s: float) -> dict[str, str]:
        """Statuses once all these sessions are over."""
        wanted = list(uuids)

        def over() -> dict[str, str] | None:
            statuses = self.statuses(wanted)
            return statuses if len(statuses) == len(wanted) and FINAL.issuperset(statuses.values()) else None

        try:
            result: dict[str, str] = wait_until("sessions end", over, timeout_s)
        except TimedOut as error:
            raise TimedOut(f"{error}; states: {Counter(self.statuses(wanted).values())}") from None
        return result

    def events(self, uuid: str) -> list[dict[str, Any]]:
        """The whole event log as the API gives it, page by page."""
        events: list[dict[str, Any]] = []
        while True:
            after = events[-1]["seq"] if events else 0
            page = self.patiently("GET", f"/sessions/{uuid}/events?after={after}&limit=1000")["events"]
            if not page:
                return events
            events += page


def log_faults(events: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a finished session's event log, looked at from outside: gaps, doubles, things left open."""
    faults = []
    seqs = [event["seq"] for event in events]
    if seqs != list(range(1, len(seqs) + 1)):
        faults.append(f"seq is not 1..{len(seqs)}")
    for kind, keys in (
        ("session.finished", ()),
        ("node.started", ("node",)),
        ("node.finished", ("node",)),
        ("step.finished", ("node", "step")),
        ("lm.started", ("call",)),
        ("lm.finished", ("call",)),
        ("subcall.opened", ("node", "step", "cell", "subcall")),
        ("cell.finished", ("node", "step", "cell")),
    ):
        seen = Counter(tuple(event[key] for key in keys) for event in events if event["type"] == kind)
        faults += [f"{kind} {key} {times} times" for key, times in seen.items() if times > 1]
    for begun, ended, keys in (
        ("node.started", ("node.finished",), ("node",)),
        ("lm.started", ("lm.finished", "lm.failed"), ("call",)),
    ):
        open_ = {tuple(event[key] for key in keys) for event in events if event["type"] == begun}
        open_ -= {tuple(event[key] for key in keys) for event in events if event["type"] in ended}
        faults += [f"{begun} {key} has no end" for key in sorted(open_)]
    return faults
