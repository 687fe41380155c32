"""The clock of a worker: its sign of life, and the jobs of settings.PERIODIC_JOBS, one worker at a time for
each job.

A thread of the worker and not Celery's beat: the jobs repair what a lost broker forgot, so they must not need
one, and one process less has to be run and watched. An advisory lock of PostgreSQL keeps two workers from
doing the same job.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import redis
from celery import bootsteps
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils.module_loading import import_string

from rlmweb import health
from rlmweb.settings import env

HEARTBEAT_EVERY_S = 3.0
# Names our locks among other users of advisory locks in the same database.
LOCK_SPACE = zlib.crc32(b"rlmweb.periodic") & 0x7FFFFFFF

log = logging.getLogger(__name__)


class Periodic(bootsteps.StartStopStep):
    """Runs the clock between the start and the stop of a Celery worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.clock: Clock | None = None

    def start(self, parent: Any) -> None:
        env.refuse_problems()
        name = str(parent.hostname)
        jobs: dict[str, tuple[float, Callable[[], object]]] = {
            "heartbeat": (HEARTBEAT_EVERY_S, lambda: health.record_worker(name))
        }
        for path, every_s in settings.PERIODIC_JOBS.items():
            jobs[path] = (every_s, alone(path, import_string(path)))
        self.clock = Clock(jobs)
        self.clock.start()

    def stop(self, parent: Any) -> None:
        if self.clock is not None:
            self.clock.stop()
            try:
                health.forget_worker(str(parent.hostname))
            except redis.RedisError as error:
                log.warning("the sign of life stays behind", extra={"error": type(error).__name__})


class Clock(threading.Thread):
    """Calls each job every so many seconds, one after the other. A job that fails is logged and tried at
    its next time.
    """

    def __init__(self, jobs: dict[str, tuple[float, Callable[[], object]]]) -> None:
        super().__init__(name="periodic", daemon=True)
        self.jobs = jobs
        self._stopping = threading.Event()
        self._due_s = dict.fromkeys(jobs, 0.0)

    def run(self) -> None:
        while not self._stopping.is_set():
            for name, (every_s, job) in self.jobs.items():
                if self._due_s[name] <= time.monotonic():
                    self._call(name, job)
                    self._due_s[name] = time.monotonic() + every_s
            self._stopping.wait(max(0.0, min(self._due_s.values()) - time.monotonic()))
        connection.close()

    def _call(self, name: str, job: Callable[[], object]) -> None:
        try:
            job()
        except (redis.RedisError, DatabaseError) as error:
            log.warning("a server cannot be reached", extra={"job": name, "error": type(error).__name__})
        except Exception:
            # One broken job must not stop the others, nor the worker's sign of life.
            log.exception("a periodic job failed", extra={"job": name})
        finally:
            connection.close()  # back to the pool; a lost one is replaced at the next call

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)


def alone(name: str, job: Callable[[], object]) -> Callable[[], object]:
    """`job`, skipped while another worker does it.

    The lock belongs to a transaction on a connection of its own: it spans the job's own transactions, and it
    cannot stay behind on a pooled connection when the job fails or the worker dies.
    """
    number = zlib.crc32(name.encode()) & 0x7FFFFFFF

    def call() -> object:
        holder = connection.copy()
        try:
            holder.set_autocommit(False)
            with holder.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_SPACE, number])
                row = cursor.fetchone()
            result = job() if row is not None and row[0] else None
            holder.rollback()  # ends the transaction, and with it the lock
            return result
        finally:
            holder.close()

    return call
