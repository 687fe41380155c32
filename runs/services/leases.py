"""Leases: which steps this process owns, renewed by one heartbeat thread.

A lease is a token in the step's row with an expiry by the database's clock. The heartbeat renews all leases of the
process in one statement; a lease that is not renewed (another worker took the step over, or somebody stopped it) is
told to its holder at once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Literal
from uuid import UUID

from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

LEASE_S = 12.0
HEARTBEAT_S = 3.0

WORKER_NAME = f"{socket.gethostname()}:{os.getpid()}"


class FenceLost(Exception):
    """The step belongs to somebody else now, or was stopped. What this worker has not committed is void."""


class LeaseKeeper:
    """Renews the leases of this process from one thread. `table` holds them, in the columns of `runs_step`."""

    def __init__(self, table: Literal["runs_step", "runs_job"]) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._on_lost: dict[UUID, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def hold(self, token: UUID, on_lost: Callable[[], None]) -> None:
        """Renew `token` until `release`; call `on_lost` (once, from the heartbeat thread) when it is gone."""
        with self._lock:
            self._on_lost[token] = on_lost
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="rlmweb-leases", daemon=True)
                self._thread.start()

    def release(self, token: UUID) -> None:
        with self._lock:
            self._on_lost.pop(token, None)

    def _beat(self) -> None:
        while True:
            self._wake.wait(HEARTBEAT_S)
            with self._lock:
                tokens = list(self._on_lost)
            if not tokens:
                continue
            try:
                kept = self._renew(tokens)
            except DatabaseError as error:
                # The database is away: leases may run out, and the fence then refuses our commits.
                logger.warning("leases were not renewed: %s", error)
                connection.close()
                continue
            finally:
                connection.close_if_unusable_or_obsolete()
            for token in tokens:
                if token not in kept:
                    with self._lock:
                        on_lost = self._on_lost.pop(token, None)
                    if on_lost is not None:
                        on_lost()

    def _renew(self, tokens: list[UUID]) -> set[UUID]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self._table} "  # noqa: S608  # nosec B608  # a table of ours
                "SET lease_expires_at = clock_timestamp() + %s * interval '1 second'"
                " WHERE lease_token = ANY(%s) AND status = 'running' RETURNING lease_token",
                [LEASE_S, tokens],
            )
            return {token for (token,) in cursor.fetchall()}


leases = LeaseKeeper("runs_step")
job_leases = LeaseKeeper("runs_job")
