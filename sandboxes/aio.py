"""One asyncio loop per process, in a thread of its own, for SDKs and sockets used from synchronous code.

Celery tasks and management commands are synchronous and short; connections and the vendors' clients are not. A loop
that lives as long as the process keeps the connections open between tasks.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid: int | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """The process's loop, started on first use. A forked child gets one of its own."""
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="rlmweb-aio", daemon=True).start()
            _loop, _pid = loop, os.getpid()
        return _loop


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start `coroutine` on the background loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, background_loop())


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float | None = None) -> T:
    """Run `coroutine` on the background loop and wait for its result. Never call it from that loop."""
    return submit(coroutine).result(timeout_s)
