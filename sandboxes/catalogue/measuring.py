"""Measurements from real work: kept in memory where they are made, written together later.

A measurement must never fail or slow a step. So `keep` touches no database and may be called on any thread or event loop;
`write_kept` is called where the caller uses the database anyway. What a process that dies had not written yet is lost.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction
from django.utils import timezone

from sandboxes.catalogue.models import ProviderMeasurement
from sandboxes.catalogue.summaries import WINDOW
from sandboxes.errors import SandboxError

logger = logging.getLogger(__name__)
Operation, Source = ProviderMeasurement.Operation, ProviderMeasurement.Source

MOST_KEPT = 1000
"""Beyond, the oldest are dropped: a database that is away must not fill our memory."""
_kept: deque[ProviderMeasurement] = deque(maxlen=MOST_KEPT)
os.register_at_fork(after_in_child=_kept.clear)  # the parent writes its own


@contextmanager
def measured(provider: str, operation: str, *, region: str = "", source: str = Source.SESSION) -> Iterator[None]:
    """Keep how long the block takes; of one that raises a `SandboxError` or a timeout, the type of it, too."""
    began = time.perf_counter()
    error = ""
    try:
        yield
    except (SandboxError, TimeoutError) as raised:
        error = type(raised).__name__
        raise
    finally:
        keep(provider, operation, (time.perf_counter() - began) * 1000, region=region, source=source, error=error)


def keep(
    provider: str, operation: str, ms: float, *, region: str = "", source: str = Source.SESSION, error: str = ""
) -> None:
    """`ms`: milliseconds; `error`: the type of the error it ended with."""
    _kept.append(
        ProviderMeasurement(
            provider=provider[:32],
            operation=operation,
            ms=ms,
            at=timezone.now(),
            region=region[:253],
            measured_from=platform.node()[:64],
            source=source,
            error=error[:64],
        )
    )


def write_kept() -> int:
    """Write what this process has kept; how many. When the database refuses, they are given up with a warning."""
    rows: list[ProviderMeasurement] = []
    while _kept:
        rows.append(_kept.popleft())
    if not rows:
        return 0
    try:
        with transaction.atomic():  # a savepoint, where the caller is in a transaction that must not be spoiled
            ProviderMeasurement.objects.bulk_create(rows)
    except DatabaseError as error:
        logger.warning("%s measurements of providers were not written: %s", len(rows), error)
        return 0
    return len(rows)


def drop_kept() -> None:
    """Give up what this process has kept: it was no real work."""
    _kept.clear()


def forget_old() -> int:
    """Delete what no page shows any more; how many."""
    deleted, _ = ProviderMeasurement.objects.filter(at__lt=timezone.now() - WINDOW).delete()
    return deleted
