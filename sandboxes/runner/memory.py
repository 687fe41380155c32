"""The memory limit of the REPL's process, with a little in hand for the runner's own work between two cells.

Code that used everything up gets what is in hand for its next cell, so that it can let go of something.
"""

from __future__ import annotations

MIB = 1024 * 1024
IN_HAND_MB = 8


class MemoryLimit:
    def __init__(self, memory_mb: int) -> None:
        """0: no limit. Memory is counted as data, not as address space: mapping a large context does not use it up."""
        self._code_bytes = self._all_bytes = 0
        self._ran_out = False
        if memory_mb:
            import resource

            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            wanted = (memory_mb + IN_HAND_MB) * MIB
            self._all_bytes = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            self._code_bytes = min(memory_mb * MIB, self._all_bytes)
            self._set(self._all_bytes)

    def _set(self, soft_bytes: int) -> None:
        if soft_bytes:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (soft_bytes, self._all_bytes))

    def begin_cell(self) -> None:
        self._set(self._all_bytes if self._ran_out else self._code_bytes)
        self._ran_out = False

    def end_cell(self, *, ran_out: bool) -> None:
        self._ran_out = ran_out
        self._set(self._all_bytes)
