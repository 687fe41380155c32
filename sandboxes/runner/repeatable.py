"""Make a REPL repeatable: clocks that start at a given time, chance that starts from a given seed.

Names stay what they are: functions of modules are replaced, and for `datetime`, whose types are not to be changed from
Python, the entries of the types themselves. What was imported by name from these modules before (by the runner and the
standard library: waiting with a time-out, for one) keeps the real clock.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

READING_NS = 1_000
"""So much a clock goes on with each reading: code that waits for it to pass comes to an end."""
SECOND_NS = 1_000_000_000
_PLACES: dict[str, tuple[Any, Callable[[], int], Callable[[int], None]]] = {}
"""Of the clock and of chance: what they began from, how far they are, and the way to another place."""
CLOCKS = ("monotonic", "perf_counter", "process_time", "thread_time")


class Clock:
    """Unix time in nanoseconds that only readings and sleeps move on."""

    def __init__(self, start_s: float) -> None:
        import time

        self.start_ns = self.now_ns = int(start_s * SECOND_NS)
        self._sleep: Callable[[float], None] = time.sleep

    def read_ns(self) -> int:
        self.now_ns += READING_NS
        return self.now_ns

    def read_s(self) -> float:
        return self.read_ns() / SECOND_NS

    def elapsed_ns(self) -> int:
        return self.read_ns() - self.start_ns

    def elapsed_s(self) -> float:
        return self.elapsed_ns() / SECOND_NS

    def place(self) -> int:
        return self.now_ns

    def go_to(self, place: int) -> None:
        self.now_ns = place

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)
        self.now_ns += int(seconds * SECOND_NS)


def set_clock(start_s: float) -> None:
    """From now on the clocks of this process start at `start_s` (Unix time)."""
    import datetime
    import queue  # noqa: F401  # it and the next one wait with time-outs: they keep the real clock
    import subprocess  # noqa: F401
    import threading  # noqa: F401
    import time

    clock = Clock(start_s)
    _PLACES["clock"] = (clock.start_ns, clock.place, clock.go_to)
    module: Any = time
    module.time, module.time_ns, module.sleep = clock.read_s, clock.read_ns, clock.sleep
    for name in CLOCKS:
        setattr(module, name, clock.elapsed_s)
        setattr(module, f"{name}_ns", clock.elapsed_ns)
    for name in ("localtime", "gmtime", "ctime"):
        setattr(module, name, _at_clock(getattr(time, name), clock))
    module.asctime, module.strftime = _asctime(time), _strftime(time)
    _set_datetime(datetime, clock)


def _at_clock(real: Callable[[float], Any], clock: Clock) -> Callable[..., Any]:
    """`localtime` and its like: without a time they take that of the clock."""

    def at_clock(seconds: float | None = None) -> Any:
        return real(clock.read_s() if seconds is None else seconds)

    at_clock.__name__ = real.__name__
    return at_clock


def _asctime(time: Any) -> Callable[..., str]:
    real = time.asctime

    def asctime(moment: Any = None) -> str:
        return str(real(time.localtime() if moment is None else moment))

    return asctime


def _strftime(time: Any) -> Callable[..., str]:
    real = time.strftime

    def strftime(form: str, moment: Any = None) -> str:
        return str(real(form, time.localtime() if moment is None else moment))

    return strftime


def _set_datetime(module: Any, clock: Clock) -> None:
    def now(cls: Any, tz: Any = None) -> Any:
        return cls.fromtimestamp(clock.read_s(), tz)

    def utcnow(cls: Any) -> Any:
        return cls.fromtimestamp(clock.read_s(), module.timezone.utc).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        return cls.fromtimestamp(clock.read_s())

    _replace_in_type(module.datetime, {"now": now, "utcnow": utcnow, "today": today})
    _replace_in_type(module.date, {"today": today})


def _replace_in_type(kind: type, functions: dict[str, Any]) -> None:
    """Replace class methods of a type that is written in C. The interpreter keeps what it looked up until it is told."""
    import ctypes
    import gc

    [entries] = gc.get_referents(kind.__dict__)
    for name, function in functions.items():
        entries[name] = classmethod(function)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


class Chance:
    """Bytes that stand for those of the system's generator: SHA-256 over the seed and a counter."""

    def __init__(self, seed: int) -> None:
        import hashlib

        self._sha256 = hashlib.sha256
        self._seed = str(seed).encode()
        self._count = 0

    def place(self) -> int:
        return self._count

    def go_to(self, place: int) -> None:
        self._count = place

    def urandom(self, size: int) -> bytes:
        if size < 0:
            raise ValueError("negative argument not allowed")
        blocks = []
        for _ in range(-(-size // 32)):
            self._count += 1
            blocks.append(self._sha256(b"%s %d" % (self._seed, self._count)).digest())
        return b"".join(blocks)[:size]

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        return self.urandom(size)


def set_seed(seed: int) -> None:
    """From now on chance in this process follows from `seed`."""
    import random

    chance = Chance(seed)
    _PLACES["chance"] = (seed, chance.place, chance.go_to)
    system: Any = os
    system.urandom = chance.urandom
    if hasattr(os, "getrandom"):
        system.getrandom = chance.getrandom
    module: Any = random
    module._urandom = chance.urandom
    seed_with = random.Random.seed

    def seed_from_chance(self: Any, a: Any = None, version: int = 2) -> None:
        """`Random.seed`; without a seed it takes one from `os.urandom`, as the original does."""
        seed_with(self, int.from_bytes(chance.urandom(32), "big") if a is None else a, version)

    module.Random.seed = seed_from_chance
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


def repeatable_places() -> dict[str, tuple[Any, int]]:
    """How far the clock and chance of this process are, by what they began from. Part of a snapshot."""
    return {name: (began, place()) for name, (began, place, _) in _PLACES.items()}


def go_on_repeating(places: dict[str, tuple[Any, int]]) -> None:
    """Go to the places of a snapshot, where this process began from the same time and seed."""
    for name, (began, _, go_to) in _PLACES.items():
        if name in places and places[name][0] == began:
            go_to(places[name][1])
