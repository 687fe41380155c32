"""Database reads from coroutines, on a few threads of their own.

Channels' default runs every read of the process on one thread, so that one slow page would hold up every browser.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import DatabaseSyncToAsync

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stream-db")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function`, which may use the database, without holding up the event loop."""
    call = DatabaseSyncToAsync(function, thread_sensitive=False, executor=_threads)
    result: R = await call(*args, **kwargs)
    return result
