"""One asyncio loop per process, in a thread of its own, for SDKs and sockets used from synchronous code.

Celery tasks and management commands are synchronous and short; connections and the vendors' clients are not. A loop
that lives as long as the process keeps the connections open between tasks.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

SHUT_DOWN_S = 1.0

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid: int | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """The process's loop, started on first use. A forked child gets one of its own."""
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="rlmweb-aio", daemon=True)
            thread.start()
            atexit.register(_shut_down, loop, thread, os.getpid())
            _loop, _pid = loop, os.getpid()
        return _loop


def _shut_down(loop: asyncio.AbstractEventLoop, thread: threading.Thread, pid: int) -> None:
    """Cancel what still runs, so that the interpreter does not complain about it on its way out."""
    if pid != os.getpid():
        return

    async def stop() -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=SHUT_DOWN_S) if tasks else None
        loop.call_soon(loop.stop)

    with contextlib.suppress(RuntimeError):  # the loop was closed by somebody else
        asyncio.run_coroutine_threadsafe(stop(), loop)
        thread.join(2 * SHUT_DOWN_S)


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start `coroutine` on the background loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, background_loop())


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float | None = None) -> T:
    """Run `coroutine` on the background loop and wait for its result. Never call it from that loop."""
    return submit(coroutine).result(timeout_s)
