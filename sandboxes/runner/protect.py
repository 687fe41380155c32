"""Keep other processes of the same user out of this one's memory and descriptors."""

from __future__ import annotations

from sandboxes.runner.syscalls import c_call

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> bool:
    """`prctl(2)` with one argument; False when it failed or cannot be called here."""
    try:
        return c_call("prctl", option, value, 0, 0, 0) == 0
    except OSError:
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


def adopt_orphans() -> bool:
    """What loses its parent below this process becomes its child."""
    return prctl(_PR_SET_CHILD_SUBREAPER, 1)
