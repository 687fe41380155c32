"""Database reads from coroutines, on a few threads of their own.

Channels' `database_sync_to_async` runs every read of the process on one thread, so that one slow page would hold up
every browser; on other threads it leaves their connections open (asgiref 3.13 keeps them with the caller's context,
where its clean-up does not look).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stream-db")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function`, which may use the database, without holding up the event loop.

    A caller that is cancelled still waits for it, so that nothing reads on behalf of a socket that is gone.
    """

    def call() -> R:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    reading = asyncio.get_running_loop().run_in_executor(_threads, call)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])
        raise
