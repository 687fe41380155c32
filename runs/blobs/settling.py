"""Files that were written and may not be on the disk yet.

Forcing each to the disk as it is written costs a step several journal commits, one after another. Those of one commit of
the record are forced together, right before it (`BlobStore.settle`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

THREADS = 4


class Unsettled:
    """Safe between threads: who settles while another does waits for what that one took."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._lock = threading.Lock()
        self._settling = threading.Lock()

    def add(self, *paths: Path) -> None:
        with self._lock:
            self._paths.update(paths)

    def settle(self) -> None:
        """Raises `OSError`; what was to be forced is then still unsettled."""
        with self._settling:
            with self._lock:
                paths, self._paths = self._paths, set()
            try:
                force(paths)
                force({path.parent for path in paths})  # their names, and so after them
            except OSError:
                self.add(*paths)
                raise


def force(paths: Iterable[Path]) -> None:
    """To the disk, side by side: a file system puts what is forced at one time into one commit of its journal."""
    if some := list(paths):
        list(_pool().map(_force, some) if len(some) > 1 else map(_force, some))


def _force(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # deleted meanwhile
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="rlmweb-settling")
