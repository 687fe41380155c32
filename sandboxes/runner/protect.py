"""Keep other processes of the same user out of this one's memory and descriptors."""

from __future__ import annotations

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def prctl(option: int, value: int) -> bool:
    """`prctl(2)` with one argument; False when it failed or cannot be called here.

    Through the C half of `ctypes`: the package takes as long to import as an interpreter to start.
    """
    try:
        import _ctypes  # type: ignore[import-not-found,unused-ignore]

        address = _ctypes.dlsym(_ctypes.dlopen(None, 1), "prctl")  # type: ignore[arg-type,unused-ignore]
        return bool(_ctypes.call_cdeclfunction(address, (option, value, 0, 0, 0)) == 0)
    except (ImportError, AttributeError, OSError, TypeError):
        pass
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def hide_process() -> bool:
    """Nobody without privileges may read this process's memory, trace it or open its descriptors through /proc."""
    return prctl(_PR_SET_DUMPABLE, 0)


def show_process() -> bool:
    """Undo `hide_process` in a forked child, which needs its own entries in /proc."""
    return prctl(_PR_SET_DUMPABLE, 1)


def die_with_parent() -> bool:
    """This process is killed when the thread that forked it ends."""
    return prctl(_PR_SET_PDEATHSIG, 9)
